/** The datasets of a pool: parents that were left out, what they inherit, and where each belongs in the tree. */
import { compareBytes } from '../../bytes/order.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { CheckedOptions, ZfsDataset, ZfsSnapshot } from './options.ts'
import { canonicalProperties, inheritedProperties, isPlainPath, storedProperty, type ZfsProperties } from './properties.ts'

export interface DatasetSpec {
  readonly name: string
  /** Without the names of those above it; for the pool's own dataset that of the pool. */
  readonly shortName: string
  /** In the list; undefined for the pool's own dataset. */
  readonly parent: number | undefined
  /** Its own. */
  readonly properties: ZfsProperties
  /** Its own, and those it inherits. */
  readonly effective: ZfsProperties
  /** The part of the tree that it takes. */
  readonly mount: string | undefined
  /** Where ZFS mounts it: a path, `legacy` or `none`. */
  readonly mountpoint: string
  /** Whether that follows from properties that were given, and not from the name of the pool alone. */
  readonly hasChosenMountpoint: boolean
  readonly snapshots: readonly ZfsSnapshot[]
}

const NAME_LENGTH_MAXIMUM = 255
/** `zfs_max_dataset_nesting`. */
const DEPTH_MAXIMUM = 50
const COMPONENT = /^(?!\.\.?$)[a-zA-Z0-9_.: -]+$/
const SNAPSHOT = /^[a-zA-Z0-9_.: -]+$/

/** Parents before their children: shorter names first, those of one length in the order of names. Throws USAGE or UNSUPPORTED. */
export function planDatasets(options: CheckedOptions): DatasetSpec[] {
  const { name: pool, datasets, properties } = options
  const given = [...datasets].sort((a, b) => a.name.length - b.name.length || compareBytes(utf8(a.name), utf8(b.name)))
  const specs: DatasetSpec[] = []
  const places = new Map<string, number>()
  const add = (dataset: ZfsDataset): void => {
    const { name, mount, snapshots = [] } = dataset
    const slash = name.lastIndexOf('/')
    if (slash >= 0 && !places.has(name.slice(0, slash))) add({ name: name.slice(0, slash) })
    const parent = slash < 0 ? undefined : (places.get(name.slice(0, slash)) as number)
    const above = parent === undefined ? undefined : specs[parent]
    const own = canonicalProperties(dataset.properties ?? {})
    for (const [key, value] of Object.entries(own)) storedProperty(key, value)
    const shortName = name.slice(slash + 1)
    const mountpoint = own['mountpoint'] ?? mountpointBelow(above?.mountpoint ?? '/', shortName)
    const hasChosenMountpoint = own['mountpoint'] !== undefined || above?.hasChosenMountpoint === true
    places.set(name, specs.length)
    specs.push({
      name,
      shortName,
      parent,
      properties: own,
      effective: inheritedProperties(above?.effective ?? {}, own),
      mount: placeOf({ name, mount, mountpoint, hasChosenMountpoint, own }),
      mountpoint,
      hasChosenMountpoint,
      snapshots,
    })
  }
  const root = given.find(({ name }) => name === pool)
  add({ ...root, name: pool, properties: { ...canonicalProperties(properties), ...canonicalProperties(root?.properties ?? {}) } })
  for (const dataset of given) {
    if (dataset === root) continue
    checkName(dataset, pool)
    if (places.has(dataset.name)) throw new ImageError('USAGE', `zfs: the dataset ${dataset.name} is given twice`)
    add(dataset)
  }
  for (const spec of specs) checkSnapshots(spec)
  return specs
}

function checkName({ name }: ZfsDataset, pool: string): void {
  const [first, ...rest] = name.split('/')
  if (first !== pool) throw new ImageError('USAGE', `zfs: the dataset '${name}' is not in the pool; its name must begin with ${pool}/`)
  if (rest.length === 0 || rest.some((part) => !COMPONENT.test(part)) || name.length > NAME_LENGTH_MAXIMUM) {
    throw new ImageError('USAGE', `zfs: '${name}' cannot be the name of a dataset; use letters, digits, _ . : - between slashes`)
  }
  if (rest.length >= DEPTH_MAXIMUM) {
    throw new ImageError('LIMIT', `zfs: the dataset '${name}' is ${rest.length} levels deep, ZFS allows ${DEPTH_MAXIMUM - 1}`)
  }
}

/** As `zfs create` notes it; the pool's own dataset is made without (OpenZFS `module/zfs/dsl_pool.c`, `dsl_pool_create`). */
export function findsSnapshotsByAnyCase({ parent, effective }: Pick<DatasetSpec, 'parent' | 'effective'>): boolean {
  return parent !== undefined && effective['casesensitivity'] === 'insensitive'
}

function checkSnapshots(spec: DatasetSpec): void {
  const { name, snapshots } = spec
  const names = new Set<string>()
  let populated = false
  for (const snapshot of snapshots) {
    const full = `${name}@${snapshot.name}`
    if (!SNAPSHOT.test(snapshot.name) || full.length > NAME_LENGTH_MAXIMUM) {
      throw new ImageError('USAGE', `zfs: '${full}' cannot be the name of a snapshot; use letters, digits, _ . : -`)
    }
    const found = findsSnapshotsByAnyCase(spec) ? snapshot.name.toUpperCase() : snapshot.name
    if (names.has(found)) throw new ImageError('USAGE', `zfs: the snapshot ${full} is given twice`)
    names.add(found)
    if (populated && snapshot.state === 'empty') {
      throw new ImageError('USAGE', `zfs: the empty snapshot ${full} comes after a populated one; give it before`)
    }
    populated ||= snapshot.state === 'populated'
  }
}

/** What a dataset inherits from the mount point above it. */
function mountpointBelow(above: string, shortName: string): string {
  if (!above.startsWith('/')) return above
  return above === '/' ? `/${shortName}` : `${above}/${shortName}`
}

interface Place {
  readonly name: string
  readonly mount: string | undefined
  readonly mountpoint: string
  readonly hasChosenMountpoint: boolean
  readonly own: ZfsProperties
}

/**
 * The part of the tree that a dataset takes: what it is given for `mount`; else, what ZFS would hide when it mounts the
 * dataset by itself, so that nothing of the image is lost from view. nixpkgs knows only the former.
 */
function placeOf({ name, mount, mountpoint, hasChosenMountpoint, own }: Place): string | undefined {
  const { canmount = 'on', mountpoint: chosen = 'legacy' } = own
  if (mount === undefined) return canmount === 'on' && hasChosenMountpoint && mountpoint.startsWith('/') ? mountpoint : undefined
  if (!isPlainPath(mount)) throw new ImageError('USAGE', `zfs: ${name}: the mount point '${mount}' is no plain absolute path`)
  if (canmount === 'on' && chosen.startsWith('/') && chosen !== mount) {
    throw new ImageError(
      'USAGE',
      `zfs: ${name} is for ${mount}, but ZFS would mount it on ${chosen}, its property mountpoint; give one of them, or canmount=noauto`,
    )
  }
  return mount
}
