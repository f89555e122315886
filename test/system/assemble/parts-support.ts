/** The parts of a toplevel with everything in it, as folders and files, and the spec that fits fixtures/toplevel. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Path below the folder of parts, content, and whether it is a program. */
const PARTS: readonly (readonly [path: string, text: string, isProgram?: true])[] = [
  ['linux/bzImage', 'a kernel\n'],
  ['linux-modules/lib/modules/6.12.40/modules.dep', ''],
  ['initrd/initrd', 'an initrd\n'],
  ['systemd/lib/systemd/systemd', '\x7fELF, but not really\0\n', true],
  ['firmware/lib/firmware/blob', 'firmware\n'],
  ['etc/etc/os-release', 'ID=nixos\n'],
  ['system-path/bin/true', '#!/bin/sh\n', true],
  ['secrets/bin/append-initrd-secrets', '#!/bin/sh\n', true],
  ['dtbs/board.dtb', 'a device tree\n'],
  ['bash/bin/bash', 'a shell\n', true],
  ['switch/bin/switch-to-configuration', 'a program\n', true],
  ['checks/bin/pre-switch-checks', '#!/bin/sh\n', true],
  ['locales/lib/locale/locale-archive', 'locales\n'],
  ['extra-one/README', 'first\n'],
  ['extra-two', 'second, a file\n'],
  ['configuration.nix', '{ }\n'],
  // Several in a line, next to each other, half of one, and nothing at the end.
  ['stage-2-init.sh', '#!/bin/sh\nsystemConfig=@systemConfig@\n@systemConfig@@systemConfig@ @systemConfig @out@\n\n', true],
  ['activate.sh', 'systemConfig=@out@\nexport x=@systemConfig@ "@out@/sw"\n\n'],
]

export function writeParts(folder: string): void {
  for (const [path, text, isProgram] of PARTS) {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    chmodSync(file, isProgram ? 0o755 : 0o644)
  }
}

/** Names of the parts, for which a store path is to be had. */
export const PART_NAMES: readonly string[] = [...new Set(PARTS.map(([path]) => path.split('/')[0] ?? ''))].filter(
  (name) => name !== 'activate.sh',
)

export type Json = Record<string, unknown>

/** The spec of `rescue` in fixtures/toplevel. `at` gives the store path of a part. */
export function rescueSpec(at: (part: string) => string): Json {
  return {
    name: 'everything',
    nixosLabel: '26.11.rescue',
    system: 'x86_64-linux',
    codeName: 'Zokor',
    kernelVersion: '6.12.40',
    kernel: `${at('linux')}/bzImage`,
    kernelModules: at('linux-modules'),
    initrd: `${at('initrd')}/initrd`,
    initrdSecrets: `${at('secrets')}/bin/append-initrd-secrets`,
    firmware: `${at('firmware')}/lib/firmware`,
    stage1: 'scripted',
    stage2: { file: 'stage-2-init.sh' },
    systemd: at('systemd'),
    etc: `${at('etc')}/etc`,
    sw: at('system-path'),
    activationScript: { file: 'activate.sh' },
    dryActivationScript: 'echo would activate @out@',
  }
}

/** The spec of `toplevel` in fixtures/toplevel. */
export function everythingSpec(at: (part: string) => string): Json {
  return {
    ...rescueSpec(at),
    nixosLabel: '26.11.20261121.abcdef0',
    stage1: 'systemd',
    kernelParams: ['loglevel=4', 'console=ttyS0,115200n8', 'note="two  words"', 'back\\slash'],
    deviceTrees: at('dtbs'),
    loader: { id: 'systemd-boot', deviceTree: `${at('dtbs')}/board.dtb` },
    extensions: {
      'com.example.kilnix': {
        z: [],
        a: {},
        text: 'é "quoted" \\ tab\t',
        count: 3,
        flag: true,
        none: null,
        nested: [{ b: 1, a: 2 }],
      },
    },
    shell: `${at('bash')}/bin/bash`,
    switchToConfiguration: {
      program: `${at('switch')}/bin/switch-to-configuration`,
      installBootLoader: "/nix/it's a loader",
      preSwitchCheck: `${at('checks')}/bin/pre-switch-checks`,
      localeArchive: `${at('locales')}/lib/locale/locale-archive`,
    },
    switchInhibitors: { 'dbus-implementation': 'broker', 'a b': 'c' },
    extraDependencies: [at('extra-one'), at('extra-two')],
    configuration: at('configuration.nix'),
    buildClosure: { roots: [at('extra-two')] },
    specialisations: { rescue: rescueSpec(at) },
  }
}
