/** Space and objects by user, group and project (OpenZFS `module/zfs/dmu_objset.c`, `do_userquota_updates`). */
import type { Wrong } from './check.ts'
import { DNODE_SIZE } from './dnode.ts'
import type { FileSystem } from './file-system.ts'
import type { StoredObject } from './objset.ts'
import { readZap, zapBits } from './zap.ts'

const FLAG = { users: 1, objects: 2, projects: 4 } as const
const DNODE_FLAG = { users: 2, objects: 8 } as const
const ACCOUNT_TYPE = 39

export function checkAccounts({ objset, nodes }: FileSystem, wrong: Wrong): void {
  const { flags, special } = objset
  if (((flags & FLAG.users) !== 0) !== (special !== undefined)) wrong('accounts without their flag, or a flag without accounts')
  for (const { object, flags: own } of objset.objects.values()) {
    const isCounted = (own & DNODE_FLAG.users) !== 0
    const hasObjects = (own & DNODE_FLAG.objects) !== 0
    if (isCounted !== ((flags & FLAG.users) !== 0) || hasObjects !== ((flags & FLAG.objects) !== 0)) wrong(`object ${object}: flags ${own}`)
  }
  if (special === undefined) return
  const wanted = { user: new Map<string, number>(), group: new Map<string, number>(), project: new Map<string, number>() }
  for (const { stored, uid, gid, project = 0 } of nodes.values()) {
    const used = stored.used + DNODE_SIZE * stored.slots
    for (const [counts, id] of [[wanted.user, uid] as const, [wanted.group, gid] as const, [wanted.project, project] as const]) {
      count(counts, id.toString(16), used)
      if ((flags & FLAG.objects) !== 0) count(counts, `obj-${id.toString(16)}`, 1)
    }
  }
  if (((flags & FLAG.projects) !== 0) !== (special.project !== undefined))
    wrong('accounts of projects without their flag, or a flag without them')
  for (const kind of ['user', 'group', 'project'] as const) {
    const stored = special[kind]
    if (stored !== undefined) compare(kind, stored, wanted[kind], wrong)
  }
}

function count(counts: Map<string, number>, key: string, more: number): void {
  counts.set(key, (counts.get(key) ?? 0) + more)
}

function compare(kind: string, stored: StoredObject, wanted: ReadonlyMap<string, number>, wrong: Wrong): void {
  if (stored.type !== ACCOUNT_TYPE) wrong(`the accounts of ${kind}s have the type ${stored.type}`)
  const actual = readZap(stored.content, stored.blockSize)
  for (const key of new Set([...wanted.keys(), ...actual.keys()])) {
    const entry = actual.get(key)
    const value = entry === undefined ? 0 : Number(zapBits(entry))
    if (value !== wanted.get(key)) wrong(`the account '${key}' of ${kind}s is ${value}, not ${wanted.get(key)}`)
  }
}
