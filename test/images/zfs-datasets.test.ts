/** Datasets that nobody names, and the configuration that names them. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { zfsConfiguration } from '../../src/images/zfs/configuration.ts'
import { defaultDatasets, zfsMounts } from '../../src/images/zfs/datasets.ts'
import { oracle } from '../oracles/tools.ts'

const FSTAB = `# This is a generated file.
rpool/root / zfs x-initrd.mount,zfsutil 0 0
rpool/nix /nix zfs defaults 0 0
rpool/with\\040blank /a\\040b zfs defaults 0 0
other/data /data zfs nofail 0 0
/dev/disk/by-label/ESP /boot vfat umask=0077 0 2
# rpool/old /old zfs defaults 0 0
rpool/none none zfs noauto 0 0
`

describe('fstab', () => {
  it('names what the system mounts', () => {
    expect(zfsMounts(FSTAB)).toEqual([
      { name: 'rpool/root', mount: '/', properties: { mountpoint: '/' } },
      { name: 'rpool/nix', mount: '/nix' },
      { name: 'rpool/with blank', mount: '/a b' },
      { name: 'other/data', mount: '/data' },
    ])
  })

  it('gives the pool and the datasets, those of one pool', () => {
    expect(defaultDatasets(FSTAB, undefined)).toMatchObject({ pool: 'rpool', areMounted: true })
    expect(defaultDatasets(FSTAB, undefined).datasets.map(({ name }) => name)).toEqual(['rpool/root', 'rpool/nix', 'rpool/with blank'])
  })

  it('without a root in the pool, nixpkgs has the say', () => {
    for (const [fstab, pool, name] of [
      [FSTAB, 'other', 'other'],
      ['tmpfs / tmpfs mode=755 0 0\n', undefined, 'tank'],
      [undefined, undefined, 'tank'],
    ] as const) {
      const { pool: chosen, datasets, areMounted } = defaultDatasets(fstab, pool)
      expect([chosen, areMounted]).toEqual([name, false])
      expect(datasets).toEqual([
        { name: `${name}/system/root`, mount: '/' },
        { name: `${name}/system/var`, mount: '/var' },
        { name: `${name}/local/nix`, mount: '/nix' },
        { name: `${name}/user/home`, mount: '/home' },
      ])
    }
  })
})

const DATASETS = [{ name: 'tank/local/nix', mount: '/nix' }, { name: 'tank/none' }, { name: 'tank/system/root', mount: '/' }]

describe('the configuration', () => {
  it('names file systems by mount point, and nothing else', () => {
    expect(zfsConfiguration(DATASETS)).toBe(`builtins.fromJSON ''
  {
    "fileSystems": {
      "/": {
        "device": "tank/system/root",
        "fsType": "zfs"
      },
      "/nix": {
        "device": "tank/local/nix",
        "fsType": "zfs"
      }
    }
  }
''
`)
  })
})

const folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-configuration-'))
afterAll(() => rmSync(folder, { recursive: true }))

function evaluated(text: string): unknown {
  const file = join(folder, 'configuration.nix')
  writeFileSync(file, text)
  const command = ['--eval', '--strict', '--json', '--store', join(folder, 'store'), file]
  return JSON.parse(execFileSync('nix-instantiate', command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }))
}

describe.skipIf(oracle('nix-instantiate').skip)('the configuration, read by Nix', () => {
  it('is a module', () => {
    expect(evaluated(zfsConfiguration(DATASETS))).toEqual({
      fileSystems: { '/': { device: 'tank/system/root', fsType: 'zfs' }, '/nix': { device: 'tank/local/nix', fsType: 'zfs' } },
    })
  })

  it('survives names that mean something to Nix', () => {
    const mount = `/a''b${'${'}c}$d\\e"f'`
    expect(evaluated(zfsConfiguration([{ name: 'tank/x', mount }]))).toEqual({
      fileSystems: { [mount]: { device: 'tank/x', fsType: 'zfs' } },
    })
  })

  it.each(['{ networking.hostId = "0"; }', '# a comment\n{ networking.hostId = "0"; } # at the end'])('is imported beside %j', (own) => {
    expect(evaluated(zfsConfiguration(DATASETS, own))).toEqual({
      imports: [evaluated(zfsConfiguration(DATASETS)), { networking: { hostId: '0' } }],
    })
  })
})
