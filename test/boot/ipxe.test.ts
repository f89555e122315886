/* biome-ignore-all lint/suspicious/noTemplateCurlyInString: iPXE's settings are written so. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'
import { ipxeScript, menuEntries } from '../../src/boot/index.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { oracle, run } from '../oracles/tools.ts'
import { bootspec, NESTED, TOPLEVEL } from './bootspecs.ts'

const INIT = `init=${TOPLEVEL}/init`

function kernelLine(parameters: string, initrds: readonly string[] = ['initrd']): string {
  return ipxeScript({ kernel: 'bzImage', initrds, parameters }).split('\n')[2] ?? ''
}

describe('netboot.ipxe', () => {
  it('is what nixpkgs writes but for the comment', () => {
    const { parameters = '' } = menuEntries(bootspec()).entries[0] ?? {}
    expect(ipxeScript({ kernel: 'bzImage', initrds: ['initrd'], parameters })).toBe(
      [
        '#!ipxe',
        '# A script that chains to this one can add kernel parameters: set cmdline to them.',
        `kernel bzImage ${INIT} initrd=initrd loglevel=4 \${cmdline}`,
        'initrd initrd',
        'boot',
        '',
      ].join('\n'),
    )
  })

  it('names several initrds in their order', () => {
    const lines = ipxeScript({ kernel: 'bzImage', initrds: ['initrd', 'manifest', 'nix-store'], parameters: `${INIT} quiet` }).split('\n')
    expect(lines.slice(2)).toEqual([
      `kernel bzImage ${INIT} initrd=initrd initrd=manifest initrd=nix-store quiet \${cmdline}`,
      'initrd initrd',
      'initrd manifest',
      'initrd nix-store',
      'boot',
      '',
    ])
  })

  it('has initrd= before a -- and the first parameter that is not init=', () => {
    expect(kernelLine('-- argument')).toBe('kernel bzImage initrd=initrd -- argument ${cmdline}')
    expect(kernelLine(`${INIT} -- argument`)).toBe(`kernel bzImage ${INIT} initrd=initrd -- argument \${cmdline}`)
    expect(kernelLine('init="/a b" x')).toBe('kernel bzImage initrd=initrd init="/a b" x ${cmdline}')
    expect(kernelLine(INIT, [])).toBe(`kernel bzImage ${INIT} \${cmdline}`)
  })

  it('leaves quotes alone and escapes what iPXE would read', () => {
    const quiet = menuEntries(NESTED).entries.find(({ parameters }) => parameters.includes('quiet'))
    expect(kernelLine(quiet?.parameters ?? '')).toBe(`kernel bzImage ${INIT} initrd=initrd quiet live.note="two words" \${cmdline}`)
    expect(kernelLine('a="b  c"', [])).toBe('kernel bzImage a="b ${} c" ${cmdline}')
    expect(kernelLine('#a b#c ; || && ;x', [])).toBe('kernel bzImage ${}#a b#c ${}; ${}|| ${}&& ;x ${cmdline}')
    expect(kernelLine('$a ${b $c} \\d', [])).toBe('kernel bzImage $a ${b $c} \\d ${cmdline}')
  })

  it.each([
    ['a setting', { parameters: 'a=${net0/ip}' }, 'BAD_INPUT', /'\$\{net0\/ip\}', which iPXE/],
    ['an empty setting', { parameters: 'x${}' }, 'BAD_INPUT', /'\$\{\}', which iPXE/],
    ['a line break', { parameters: 'a\nboot' }, 'BAD_INPUT', /control character 0x0a/],
    ['an umlaut', { parameters: 'a=ü' }, 'BAD_INPUT', /hold 'ü', iPXE hands over ASCII/],
    ['a quote that stays open', { parameters: 'a="b' }, 'BAD_INPUT', /not closed/],
    ['a kernel with a blank', { kernel: 'bz Image' }, 'USAGE', /'bz Image' cannot be/],
    ['an initrd like an option', { initrds: ['a', '--name'] }, 'USAGE', /'--name' cannot be/],
    ['a URI', { kernel: 'http://x/y' }, 'USAGE', /'http:\/\/x\/y' cannot be/],
    ['no name', { initrds: [''] }, 'USAGE', /'' cannot be/],
  ] as const)('refuses %s', async (_, changes, code, message) => {
    await failure(() => ipxeScript({ kernel: 'bzImage', initrds: ['initrd'], parameters: INIT, ...changes }), code, message)
  })

  it('a command line of exactly what the kernel takes on UEFI, and one byte more', async () => {
    const rest = 'bzImage initrd=initrd  '.length
    expect(kernelLine('x'.repeat(2047 - rest))).toHaveLength('kernel bzImage initrd=initrd  ${cmdline}'.length + 2047 - rest)
    await failure(() => kernelLine('x'.repeat(2048 - rest)), 'LIMIT', /ipxe: the kernel command line of 'bzImage' is 2048 bytes/)
  })
})

/**
 * A kernel as iPXE knows one (Linux, Documentation/arch/x86/boot.rst, protocol 2.06) that writes its command line to port
 * 0xe9 and ends the machine by port 0x501.
 */
function tellingKernel(): Buffer {
  const kernel = Buffer.alloc(2048)
  kernel[0x1f1] = 1 // setup_sects
  kernel.writeUInt16LE(0xaa55, 0x1fe)
  kernel.set([0xeb, 0x66], 0x200) // jmp 0x268, where the real-mode code enters
  kernel.write('HdrS', 0x202)
  kernel.writeUInt16LE(0x0206, 0x206)
  kernel[0x211] = 1 // LOADED_HIGH
  kernel.writeUInt32LE(0x7fffffff, 0x22c) // initrd_addr_max
  kernel.writeUInt32LE(2047, 0x238) // cmdline_size
  const program = [
    ...[0x66, 0x8b, 0x1e, 0x28, 0x02], // mov ebx, [cmd_line_ptr]
    ...[0x66, 0x89, 0xd8, 0x66, 0xc1, 0xe8, 0x04, 0x8e, 0xc0], // mov eax, ebx; shr eax, 4; mov es, ax
    ...[0x83, 0xe3, 0x0f], // and bx, 15
    ...[0x26, 0x8a, 0x07, 0x84, 0xc0, 0x74, 0x05], // next: mov al, es:[bx]; test al, al; jz done
    ...[0xe6, 0xe9, 0x43, 0xeb, 0xf4], // out 0xe9, al; inc bx; jmp next
    ...[0xba, 0x01, 0x05, 0xee, 0xf4], // done: mov dx, 0x501; out dx, al; hlt
  ]
  kernel.set(program, 0x268)
  return kernel
}

/** QEMU's network cards hold iPXE; its TFTP server and the machine are all there is on their network. */
describe.skipIf(oracle('qemu-system-x86_64').skip)('netboot.ipxe by iPXE', () => {
  const scratch = scratchFolder()

  /** What the kernel got. */
  function bootedCommandLine(name: string, parameters: string, setting?: string): string {
    const folder = scratch(name)
    mkdirSync(folder)
    writeFileSync(join(folder, 'bzImage'), tellingKernel())
    for (const file of ['initrd', 'other']) writeFileSync(join(folder, file), 'initrd')
    writeFileSync(join(folder, 'netboot.ipxe'), ipxeScript({ kernel: 'bzImage', initrds: ['initrd', 'other'], parameters }))
    writeFileSync(join(folder, 'chain.ipxe'), `#!ipxe\nset cmdline ${setting}\nchain netboot.ipxe\n`)
    const log = scratch(`${name}.log`)
    const script = setting === undefined ? 'netboot.ipxe' : 'chain.ipxe'
    const { status, stderr } = run('timeout', [
      ...['60', 'qemu-system-x86_64', '-nodefaults', '-machine', 'pc', '-accel', 'tcg', '-m', '128', '-display', 'none', '-no-reboot'],
      ...['-netdev', `user,id=net,restrict=on,tftp=${folder},bootfile=${script}`, '-device', 'virtio-net-pci,netdev=net,bootindex=0'],
      ...['-debugcon', `file:${log}`, '-device', 'isa-debug-exit,iobase=0x501,iosize=1'],
    ])
    // The device ends QEMU with an odd status.
    expect([status, stderr]).toEqual([1, ''])
    return readFileSync(log, 'latin1')
  }

  it('hands over all that iPXE could misread, at the greatest length', () => {
    const odd = 'live.note="two words" a="b  c   d" #e f#g ; || && ;x $h ${i j} k\\l --name m -q \'n\' \\'
    const parameters = `${INIT} ${odd} ${'z'.repeat(2047 - `bzImage ${INIT} initrd=initrd initrd=other ${odd}  `.length)}`
    expect(`bzImage ${parameters} initrd=initrd initrd=other `).toHaveLength(2047)
    expect(bootedCommandLine('odd', parameters)).toBe(`${parameters.replace(INIT, `${INIT} initrd=initrd initrd=other`)} `)
  }, 90_000)

  it('appends what a chaining script sets', () => {
    expect(bootedCommandLine('chain', `${INIT} quiet`, 'further words')).toBe(`${INIT} initrd=initrd initrd=other quiet further words`)
  }, 90_000)
})
