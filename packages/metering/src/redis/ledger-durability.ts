import { type Platform, sleep } from '@enablement/core'
import { replyText, type ScriptRunner } from '@enablement/core/redis'
import type { QuotaLedger, SteppedHold } from '../quota/quota-ledger.ts'
import { withHolds } from './counter-text.ts'
import { type HeldInText, holdIn } from './hold-text.ts'
import type { QuotaDurability, QuotaPlace } from './quota-durability.ts'
import { quotaKeysOf } from './quota-keys.ts'
import { restoreScript } from './quota-scripts.ts'

/** Tenants whose epoch is kept in mind. Beyond it the one that was asked for first is forgotten, and looked up again. */
const PLACES_MAX = 10_000

/**
 * How long another process may take before it is taken for dead, in milliseconds: to put the fence up once it has begun an
 * epoch, and to make a tenant's quotas again: a hundred thousand counters are written in some seconds.
 */
const PATIENCE_MS = { fenced: 100, restoring: 15_000 } as const

/** How long to wait between looks at what another process is doing, in milliseconds. */
const LOOK_MS = 50

/** Rows of the ledger that are read, and keys that are written, in one go. */
const PAGE = 500

interface Standing {
  readonly place: QuotaPlace
  /** Monotonic time at which this process heard of an epoch that another one began; undefined for its own. */
  readonly heardAt: number | undefined
}

/**
 * A ledger takes each step before it is answered. A server that is not the one that its fence names, because it was
 * restarted, promoted or emptied, is fenced: the epoch is advanced and the quotas are made again from the ledger.
 */
export function ledgerDurability(runner: ScriptRunner, ledger: QuotaLedger, platform: Platform): QuotaDurability {
  const { clock } = platform
  const standings = new Map<string, Standing>()
  const restoring = new Map<string, Promise<void>>()

  const stand = (tenant: string, epoch: number, heardAt: number | undefined): QuotaPlace => {
    const place = { tenant, keys: quotaKeysOf(tenant, epoch), epoch }
    if (!standings.has(tenant) && standings.size >= PLACES_MAX) {
      standings.delete(standings.keys().next().value as string)
    }
    standings.set(tenant, { place, heardAt })
    return place
  }

  const advance = async ({ tenant, epoch = 0 }: QuotaPlace): Promise<void> => {
    const next = await ledger.advance(tenant, epoch)
    if (next.began) await restore(runner, ledger, tenant, next.epoch)
    stand(tenant, next.epoch, next.began ? undefined : clock.monotonic())
  }

  return {
    durable: ledger.supports.durable,
    async place(tenant) {
      const known = standings.get(tenant)
      if (known !== undefined) return known.place
      const epoch = await ledger.epoch(tenant)
      // Asked for at the same time by several calls: one place, so that its keys are made once.
      return standings.get(tenant)?.place ?? stand(tenant, epoch, undefined)
    },
    async secure(place, step) {
      const told = step()
      if (told.revision === 0) return true
      return (await ledger.append(place.tenant, place.epoch ?? 0, told)) === 'appended'
    },
    async fenced(place, as) {
      const { tenant } = place
      const standing = standings.get(tenant)
      // Another call has found out meanwhile.
      if (standing !== undefined && standing.place !== place) return
      // One that this process has found anew is heard of now.
      const heardAt = standing?.heardAt ?? (as === 'restoring' ? clock.monotonic() : undefined)
      if (heardAt !== undefined && clock.monotonic() - heardAt < PATIENCE_MS[as]) {
        standings.set(tenant, { place, heardAt })
        await sleep(clock, LOOK_MS)
        return
      }
      const underWay = restoring.get(tenant) ?? advance(place).finally(() => restoring.delete(tenant))
      restoring.set(tenant, underWay)
      await underWay
    }
  }
}

/** Key, the same one of the epoch before, and three arguments; see `metering.restore`. */
type Restored = readonly [key: string, before: string, kind: 's' | 'z' | 'h', value: string, expires: string]

/**
 * Writes a tenant's quotas under a new epoch. Ends early when yet another epoch has begun: then its own process writes
 * them. Nobody appends to the ledger meanwhile, for the steps of an epoch begin when its fence stands.
 */
async function restore(runner: ScriptRunner, ledger: QuotaLedger, tenant: string, epoch: number): Promise<void> {
  const keys = quotaKeysOf(tenant, epoch)
  const before = quotaKeysOf(tenant, epoch - 1)
  const run = async (part: 'begin' | 'write' | 'finish', restored: readonly Restored[] = []): Promise<boolean> => {
    const pairs = restored.flatMap((one) => one.slice(0, 2))
    const values = restored.flatMap((one) => one.slice(2))
    return replyText(await runner.run(restoreScript, [keys.fence, ...pairs], [epoch, part, ...values])) === 'done'
  }
  const expiry = (at: number | null): string => (at === null ? '-' : String(at))

  if (!(await run('begin'))) return
  const held = new Map<string, HeldInText[]>()
  const open = async (page: readonly SteppedHold[]): Promise<boolean> => {
    const opened = page.filter(({ forgetAt }) => forgetAt === null)
    for (const part of opened.flatMap(({ text }) => holdIn(text).parts)) {
      const known = held.get(part.counter)
      if (known === undefined) held.set(part.counter, [part])
      else known.push(part)
    }
    const members = opened.flatMap(({ name, expiresAt }) => [String(expiresAt), name])
    const index: Restored[] =
      members.length === 0 ? [] : [[keys.holds, before.holds, 'z', JSON.stringify(members), '-']]
    const texts = page.map(
      ({ name, text, forgetAt }): Restored => [keys.hold(name), before.hold(name), 's', text, expiry(forgetAt)]
    )
    return run('write', [...index, ...texts])
  }
  for await (const page of pages(
    (after) => ledger.holds(tenant, after, PAGE),
    ({ name }) => name
  )) {
    if (!(await open(page))) return
  }
  for await (const page of pages(
    (after) => ledger.counters(tenant, after, PAGE),
    ({ name }) => name
  )) {
    const restored = page.map(({ name, state, forgetAt }): Restored => {
      const holds = held.get(name) ?? []
      // A window is over whether or not something of it is held; any other counter stays as long as something is.
      const isKept = holds.length > 0 && !state.startsWith('w:')
      const text = withHolds(state, holds)
      return [keys.counter(name), before.counter(name), 's', text, isKept ? '-' : expiry(forgetAt)]
    })
    if (!(await run('write', restored))) return
  }
  for await (const page of pages(
    (after) => ledger.spends(tenant, after, PAGE),
    ({ token }) => token
  )) {
    const hashes = new Map<string, string[]>()
    const stretches = new Map<string, { readonly stretch: number; readonly memoryMs: number; readonly turn: number }>()
    for (const { token, memoryMs, expiresAt, value } of page) {
      const stretch = Math.floor((expiresAt - memoryMs) / memoryMs)
      const turn = stretch % 3
      const hash = keys.memories(memoryMs)[turn] as string
      const known = hashes.get(hash)
      if (known === undefined) hashes.set(hash, [token, value])
      else known.push(token, value)
      if ((stretches.get(hash)?.stretch ?? -1) < stretch) stretches.set(hash, { stretch, memoryMs, turn })
    }
    const restored = [...hashes].map(([hash, fields]): Restored => {
      const { stretch, memoryMs, turn } = stretches.get(hash) as { stretch: number; memoryMs: number; turn: number }
      const all = JSON.stringify(['#', String(stretch), ...fields])
      return [hash, before.memories(memoryMs)[turn] as string, 'h', all, String((stretch + 2) * memoryMs)]
    })
    if (!(await run('write', restored))) return
  }
  await run('finish')
}

async function* pages<Row>(
  read: (after: string) => Promise<readonly Row[]>,
  nameOf: (row: Row) => string
): AsyncGenerator<readonly Row[]> {
  let after = ''
  for (;;) {
    const page = await read(after)
    if (page.length > 0) yield page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = nameOf(last)
  }
}
