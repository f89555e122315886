/** Properties, sets of features and rules for names as data: what is stored, what is needed, what is refused. */
import { describe, expect, it } from 'vitest'
import { featuresOf, ZFS_COMPATIBILITIES } from '../../../src/filesystems/zfs/compatibility.ts'
import { type DatasetSpec, planDatasets } from '../../../src/filesystems/zfs/datasets.ts'
import { FEATURES, featureName, labelFeatures } from '../../../src/filesystems/zfs/features.ts'
import type { ZfsPoolOptions } from '../../../src/filesystems/zfs/index.ts'
import { resolveOptions } from '../../../src/filesystems/zfs/options.ts'
import { splitPoolProperties, storedPoolProperty } from '../../../src/filesystems/zfs/pool-properties.ts'
import { nameRulesOf, neededFeature, storedProperty } from '../../../src/filesystems/zfs/properties.ts'
import { normalForm, rulesProblem } from '../../../src/filesystems/zfs/zpl/name-rules.ts'
import { OPTIONS } from './support.ts'

const code = (expected: string): unknown => expect.objectContaining({ code: expected })

describe('a property of a dataset', () => {
  it.each([
    ['compression', 'on', 1],
    ['compression', 'zstd-7', 16 | (7 << 7)],
    ['compression', 'gzip-9', 13],
    ['recordsize', '1M', 1 << 20],
    ['recordsize', '16MiB', 16 << 20],
    ['xattr', 'on', 2],
    ['xattr', 'dir', 1],
    ['dnodesize', 'auto', 1],
    ['dnodesize', '4k', 4096],
    ['acltype', 'posix', 1],
    ['acltype', 'posixacl', 1],
    ['quota', 'none', 0],
    ['quota', '1.5g', 1.5 * 2 ** 30],
    ['refreservation', '10GB', 10 * 2 ** 30],
    ['filesystem_limit', '7', 7],
    ['snapshot_limit', 'none', 2n ** 64n - 1n],
    ['special_small_blocks', '32K', 32768],
    ['mountpoint', '/srv/a b', '/srv/a b'],
    ['sharenfs', 'rw=@10.0.0.0/8', 'rw=@10.0.0.0/8'],
    ['com.sun:auto-snapshot', 'füür', 'füür'],
    ['a:b', '', ''],
    ['normalization', 'formD', undefined],
    ['version', '5', undefined],
    ['encryption', 'off', undefined],
  ])('%s=%s is stored as %s', (name, value, stored) => {
    expect(storedProperty(name, value)).toBe(stored)
  })

  it.each([
    ['UNSUPPORTED', 'encryption', 'on', /LUKS/],
    ['UNSUPPORTED', 'keylocation', 'prompt', /LUKS/],
    ['UNSUPPORTED', 'pbkdf2iters', '350000', /LUKS/],
    ['UNSUPPORTED', 'dedup', 'on', /installed system/],
    ['UNSUPPORTED', 'checksum', 'blake3', /the pool feature blake3\).*sha256/],
    ['UNSUPPORTED', 'volsize', '1G', /volumes/],
    ['UNSUPPORTED', 'compression', 'zstd-fast-3', /the pool feature zstd_compress\) is not written here, .*zstd\[-1/],
    ['UNSUPPORTED', 'compression', 'lzjb', /compression=lzjb is not written here/],
    ['USAGE', 'compression', 'zstd-fast-11', /none of on, off/],
    ['UNSUPPORTED', 'checksum', 'sha512', /checksum=sha512 \(the pool feature sha512\) is not written here, .*fletcher4, sha256/],
    ['UNSUPPORTED', 'checksum', 'skein', /checksum=skein \(the pool feature skein\) is not written here, .*fletcher4, sha256/],
    ['UNSUPPORTED', 'checksum', 'edonr', /checksum=edonr \(the pool feature edonr\) is not written here, .*fletcher4, sha256/],
    ['UNSUPPORTED', 'checksum', 'fletcher2', /checksum=fletcher2 is not written here/],
    ['USAGE', 'checksum', 'crc32', /is none of on, off, fletcher4, sha256/],
    ['UNSUPPORTED', 'userquota@alice', '1G', /installed system/],
    ['UNSUPPORTED', 'version', '4', /version 5/],
    ['USAGE', 'recordsize', '100K', /power of two/],
    ['USAGE', 'recordsize', '32M', /16M/],
    ['USAGE', 'refreservation', 'auto', /such as 10G/],
    ['USAGE', 'quota', '10X', /such as 10G/],
    ['USAGE', 'atime', 'yes', /off, on/],
    ['USAGE', 'atmie', 'on', /did you mean 'atime'/],
    ['USAGE', 'used', '1', /works out/],
    ['USAGE', 'mountpoint', 'srv', /absolute/],
    ['USAGE', 'mountpoint', '/srv/../x', /absolute/],
    ['USAGE', 'Com.Sun:x', 'y', /of your own/],
    ['LIMIT', 'a:b', 'x'.repeat(8192), /8191/],
    ['LIMIT', 'a:b', 'ü'.repeat(4096), /8192 bytes/],
    ['LIMIT', 'sharenfs', 'x'.repeat(4096), /4095/],
    ['LIMIT', 'a:b', '\ud800', /UTF-8/],
  ])('%s for %s=%.20s', (expected, name, value, message) => {
    expect(() => storedProperty(name, value)).toThrow(code(expected))
    expect(() => storedProperty(name, value)).toThrow(message)
  })

  it.each([
    ['compression', 'zstd', 'org.freebsd:zstd_compress'],
    ['compression', 'lz4', 'org.illumos:lz4_compress'],
    ['compression', 'on', undefined],
    ['recordsize', '128K', undefined],
    ['recordsize', '256K', 'org.open-zfs:large_blocks'],
    ['dnodesize', 'auto', 'org.zfsonlinux:large_dnode'],
    ['snapshot_limit', '3', 'com.joyent:filesystem_limits'],
    ['snapshot_limit', 'none', undefined],
  ])('%s=%s needs %s', (name, value, feature) => {
    expect(neededFeature(name, value)).toBe(feature)
  })
})

describe('the features of a pool', () => {
  const names = (compatibility: string, states = {}): string[] => featuresOf(compatibility, states).map(featureName)

  it('are as many as the files of OpenZFS list', () => {
    const counts = Object.fromEntries(ZFS_COMPATIBILITIES.map((name) => [name, featuresOf(name).length]))
    expect(counts).toEqual({
      legacy: 0,
      'openzfs-2.0-linux': 33,
      'openzfs-2.1-linux': 34,
      'openzfs-2.2': 39,
      'openzfs-2.2-linux': 39,
      'openzfs-2.3': 44,
      'openzfs-2.3-linux': 44,
      'openzfs-2.4': 47,
      'openzfs-2.4-linux': 47,
      grub2: 11,
      'grub2-2.06': 14,
      'grub2-2.12': 22,
    })
    expect(FEATURES.length).toBe(47)
  })

  it('hold what each of them needs, in every set', () => {
    for (const set of ZFS_COMPATIBILITIES) {
      const own = names(set)
      for (const feature of featuresOf(set))
        expect(own, `${set}: ${featureName(feature)}`).toEqual(expect.arrayContaining([...feature.needs]))
    }
  })

  it('stand in the label when the meta objset needs them', () => {
    const label = (set: string): readonly string[] => labelFeatures(featuresOf(set)).map((guid) => guid.replace(/.*:/, ''))
    expect(label('legacy')).toEqual([])
    expect(label('openzfs-2.1-linux')).toEqual(['hole_birth', 'embedded_data'])
    expect(label('openzfs-2.2')).toEqual(['hole_birth', 'embedded_data', 'vdev_zaps_v2'])
  })

  it('are enabled and disabled by name, with what they need', () => {
    expect(names('legacy', { zstd_compress: true })).toEqual(['extensible_dataset', 'zstd_compress'])
    expect(names('legacy', { redaction_list_spill: true })).toEqual(
      ['extensible_dataset', 'bookmarks', 'bookmark_v2', 'redaction_bookmarks', 'redaction_list_spill'].sort(
        (a, b) => FEATURES.findIndex((one) => featureName(one) === a) - FEATURES.findIndex((one) => featureName(one) === b),
      ),
    )
    expect(names('openzfs-2.1-linux', { draid: false })).toEqual(names('openzfs-2.0-linux'))
    expect(() => names('openzfs-2.1-linux', { enabled_txg: false })).toThrow(code('USAGE'))
    expect(() => names('off')).toThrow(code('UNSUPPORTED'))
  })
})

describe('properties of the pool', () => {
  it('are sorted out', () => {
    expect(
      splitPoolProperties({ ashift: '13', compatibility: 'grub2', 'feature@draid': 'enabled', listsnaps: 'on', comment: 'x' }),
    ).toEqual({ ashift: 13, compatibility: 'grub2', featureStates: { draid: true }, poolProperties: { listsnapshots: 'on', comment: 'x' } })
    expect(splitPoolProperties({ ashift: '0' })).toEqual({ featureStates: {}, poolProperties: {} })
  })

  it('take the place of options', () => {
    const { ashift, compatibility, features } = resolveOptions({
      ...OPTIONS,
      poolProperties: { ashift: '9', compatibility: 'legacy', 'feature@lz4_compress': 'enabled' },
    })
    expect([ashift, compatibility, features.map(featureName)]).toEqual([9, 'legacy', ['lz4_compress']])
    expect(() => resolveOptions({ ...OPTIONS, ashift: 12, poolProperties: { ashift: '9' } })).toThrow(code('USAGE'))
    expect(() => resolveOptions({ ...OPTIONS, ashift: 9, poolProperties: { ashift: '9' } })).not.toThrow()
  })

  it.each([
    ['autotrim', 'on', 1],
    ['failmode', 'continue', 1],
    ['bootfs', 'tank/root', 42],
    ['org.example:owner', 'Zoë', 'Zoë'],
    ['cachefile', 'none', undefined],
    ['altroot', '/mnt', undefined],
    ['version', '5000', undefined],
  ])('%s=%s is stored as %s', (name, value, stored) => {
    expect(storedPoolProperty(name, value, (dataset) => (dataset === 'tank/root' ? 42 : undefined))).toBe(stored)
  })

  it.each([
    ['USAGE', { autoexpnad: 'on' }, /did you mean 'autoexpand'/],
    ['USAGE', { ashift: 'x' }, /whole number/],
    ['USAGE', { 'feature@zstd': 'enabled' }, /no feature 'zstd'/],
    ['USAGE', { 'feature@lz4_compres': 'enabled' }, /did you mean 'lz4_compress'/],
    ['USAGE', { 'feature@draid': 'active' }, /enabled or disabled/],
    ['USAGE', { expand: 'on', autoexpand: 'on' }, /twice/],
    ['UNSUPPORTED', { compatibility: 'freebsd-11.0' }, /grub2/],
    ['UNSUPPORTED', { cachefile: '/etc/zfs/zpool.cache' }, /give none/],
    ['UNSUPPORTED', { version: '28' }, /5000/],
    ['LIMIT', { comment: 'ü' }, /ASCII/],
  ])('%s for %o', (expected, properties, message) => {
    const all = (): void => {
      for (const [name, value] of Object.entries(splitPoolProperties(properties as unknown as Record<string, string>).poolProperties)) {
        storedPoolProperty(name, value, () => undefined)
      }
    }
    expect(all).toThrow(code(expected))
    expect(all).toThrow(message)
  })
})

describe('mount points', () => {
  const specs = (options: Partial<ZfsPoolOptions>): DatasetSpec[] => {
    const all: ZfsPoolOptions = { ...OPTIONS, properties: {}, datasets: [], ...options }
    return planDatasets(resolveOptions(all))
  }
  const places = (options: Partial<ZfsPoolOptions>): (string | undefined)[][] =>
    specs(options).map(({ name, mount, mountpoint }) => [name, mount, mountpoint])

  it('are derived as ZFS does it, and only those that were chosen take content', () => {
    expect(places({ datasets: [{ name: 'tank/a/b' }] })).toEqual([
      ['tank', undefined, '/tank'],
      ['tank/a', undefined, '/tank/a'],
      ['tank/a/b', undefined, '/tank/a/b'],
    ])
    expect(
      places({
        properties: { mountpoint: '/', canmount: 'off' },
        datasets: [
          { name: 'tank/home' },
          { name: 'tank/home/alice' },
          { name: 'tank/ROOT', properties: { mountpoint: 'none' } },
          { name: 'tank/ROOT/nixos', mount: '/', properties: { mountpoint: '/', canmount: 'noauto' } },
          { name: 'tank/old', properties: { canmount: 'noauto' } },
        ],
      }),
    ).toEqual([
      ['tank', undefined, '/'],
      ['tank/old', undefined, '/old'],
      ['tank/ROOT', undefined, 'none'],
      ['tank/home', '/home', '/home'],
      ['tank/ROOT/nixos', '/', '/'],
      ['tank/home/alice', '/home/alice', '/home/alice'],
    ])
  })

  it('that contradict are refused', () => {
    const dataset = { name: 'tank/a', mount: '/nix', properties: { mountpoint: '/srv' } }
    expect(() => specs({ datasets: [dataset] })).toThrow(code('USAGE'))
    expect(() => specs({ datasets: [{ ...dataset, properties: { ...dataset.properties, canmount: 'noauto' } }] })).not.toThrow()
  })

  it('and names: aliases, depth, dots', () => {
    expect(specs({ properties: { compress: 'lz4' } })[0]?.properties).toEqual({ compression: 'lz4' })
    expect(() => specs({ properties: { compress: 'lz4', compression: 'off' } })).toThrow(code('USAGE'))
    expect(specs({ datasets: [{ name: 'tank/.x' }] }).map(({ name }) => name)).toEqual(['tank', 'tank/.x'])
    expect(() => specs({ datasets: [{ name: 'tank/..' }] })).toThrow(code('USAGE'))
    expect(() => specs({ datasets: [{ name: `tank${'/a'.repeat(50)}` }] })).toThrow(code('LIMIT'))
    expect(specs({ datasets: [{ name: `tank${'/a'.repeat(49)}` }] })).toHaveLength(50)
  })
})

describe('rules for names', () => {
  // The forms are what OpenZFS's own code made of them: upper case, formD, formC, formKD, formKC, and upper with formKC.
  it.each([
    ['Straße.TXT', ['STRAßE.TXT', 'Straße.TXT', 'Straße.TXT', 'Straße.TXT', 'Straße.TXT', 'STRAßE.TXT']],
    ['ÿ', ['Ÿ', 'y\u0308', 'ÿ', 'y\u0308', 'ÿ', 'Ÿ']],
    ['ı', ['I', 'ı', 'ı', 'ı', 'ı', 'I']],
    ['ŉ', ['ŉ', 'ŉ', 'ŉ', 'ʼn', 'ʼn', 'ʼn']],
    ['ﬁle', ['ﬁLE', 'ﬁle', 'ﬁle', 'file', 'file', 'fiLE']],
    ['Ǆ', ['Ǆ', 'Ǆ', 'Ǆ', 'DZ\u030c', 'D\u017d', 'D\u017d']],
    ['ά', ['Ά', 'α\u0301', 'ά', 'α\u0301', 'ά', 'Ά']],
    ['①が', ['①が', '①か\u3099', '①が', '1か\u3099', '1が', '1が']],
    ['글', ['글', '\u1100\u1173\u11af', '글', '\u1100\u1173\u11af', '글', '글']],
    ['😀', ['😀', '😀', '😀', '😀', '😀', '😀']],
  ])('%s has the forms that ZFS hashes', (name, forms) => {
    const bytes = Buffer.from(name)
    expect([2, 0x10, 0x50, 0x20, 0x60, 0x62].map((flags) => Buffer.from(normalForm(bytes, flags)).toString())).toEqual(forms)
  })

  const rules = (properties: Record<string, string>, name: Buffer | string): string | undefined =>
    rulesProblem(Buffer.from(name as string), nameRulesOf(properties))?.code

  it('follow from properties', () => {
    expect(nameRulesOf({})).toEqual({ isUtf8Only: false, normalization: 0, caseSensitivity: 0 })
    expect(nameRulesOf({ normalization: 'formKC', casesensitivity: 'mixed' })).toEqual({
      isUtf8Only: true,
      normalization: 0x60,
      caseSensitivity: 2,
    })
    expect(() => nameRulesOf({ normalization: 'formD', utf8only: 'off' })).toThrow(code('USAGE'))
  })

  it('refuse what is not UTF-8, and what Unicode 5.0 or ZFS may see otherwise', () => {
    const notUtf8 = Buffer.of(0x61, 0xff)
    expect(rules({}, notUtf8)).toBeUndefined()
    expect(rules({ utf8only: 'on' }, notUtf8)).toBe('USAGE')
    expect(rules({ utf8only: 'on' }, 'ɐ')).toBeUndefined()
    expect(rules({ casesensitivity: 'insensitive' }, notUtf8)).toBe('UNSUPPORTED')
    // A capital since Unicode 5.1; a mark behind a letter that has one; three marks; a mark alone.
    for (const name of ['ɐ', 'é\u0323', 'a\u0302\u0301\u0323', '\u0301'])
      expect(rules({ normalization: 'formD' }, name), name).toBe('UNSUPPORTED')
    expect(rules({ normalization: 'formD' }, 'e\u0302\u0301')).toBeUndefined()
    expect(rules({ normalization: 'formD' }, 'é'.repeat(86))).toBe('LIMIT')
    expect(rules({ normalization: 'formD' }, 'é'.repeat(85))).toBeUndefined()
  })
})
