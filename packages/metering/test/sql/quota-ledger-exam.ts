import type { QuotaLedger, QuotaStep } from '@enablement/metering'
import { expect, it } from 'vitest'

const SOON = Date.UTC(2041, 0, 1)

/** A step of which only what a test says is not empty. */
const step = (revision: number, more: Partial<QuotaStep> = {}): QuotaStep => ({
  revision,
  counters: [],
  spends: [],
  holds: [],
  ...more
})

const counter = (name: string, state: string, forgetAt: number | null = null) => ({ name, units: 1, forgetAt, state })

/** What a ledger of quotas has to do, on any database. The clock shows a time before 2041. */
export function examineQuotaLedger(
  create: () => Promise<{ ledger: QuotaLedger; tenant: string; clock: { jumpWallTo(at: number): void } }>
): void {
  it('begins with no epoch, and takes steps of the one that is', async () => {
    const { ledger, tenant } = await create()
    expect(await ledger.epoch(tenant)).toBe(0)
    expect(await ledger.append(tenant, 0, step(1, { counters: [counter('a', 's1')] }))).toBe('fenced')
    expect(await ledger.advance(tenant, 0)).toEqual({ epoch: 1, began: true })
    expect(await ledger.append(tenant, 1, step(1, { counters: [counter('a', 's1')] }))).toBe('appended')
    expect(await ledger.append(tenant, 0, step(2, { counters: [counter('a', 's2')] }))).toBe('fenced')
    expect(await ledger.append(tenant, 2, step(2, { counters: [counter('a', 's2')] }))).toBe('fenced')
    expect(await ledger.epoch(tenant)).toBe(1)
    expect(await ledger.counters(tenant, '', 10)).toEqual([{ ...counter('a', 's1'), units: 0 }])
    expect(await ledger.counters(`${tenant}-other`, '', 10)).toEqual([])
  })

  it('lets one of many begin the next epoch', async () => {
    const { ledger, tenant } = await create()
    const began = await Promise.all(Array.from({ length: 8 }, () => ledger.advance(tenant, 0)))
    expect(began.filter((one) => one.began)).toHaveLength(1)
    expect(began.every(({ epoch }) => epoch === 1)).toBe(true)
  })

  it('keeps what the latest step said, in whichever order they come and however often', async () => {
    const { ledger, tenant } = await create()
    await ledger.advance(tenant, 0)
    const hold = (text: string) => ({ name: 'h', forgetAt: null, expiresAt: SOON, text })
    const steps = [1, 2, 3].map((revision) =>
      step(revision, { counters: [counter('a', `s${revision}`)], holds: [hold(`h${revision}`)] })
    )
    for (const at of [1, 0, 2, 2, 1]) await ledger.append(tenant, 1, steps[at] as QuotaStep)
    expect(await ledger.counters(tenant, '', 10)).toMatchObject([{ state: 's3' }])
    expect(await ledger.holds(tenant, '', 10)).toEqual([hold('h3')])
    await ledger.advance(tenant, 1)
    await ledger.append(tenant, 2, step(1, { counters: [counter('a', 'new')], holds: [hold('new')] }))
    expect(await ledger.counters(tenant, '', 10)).toMatchObject([{ state: 'new' }])
    expect(await ledger.holds(tenant, '', 10)).toMatchObject([{ text: 'new' }])
  })

  it('keeps a key that comes again after it was forgotten', async () => {
    const { ledger, tenant } = await create()
    await ledger.advance(tenant, 0)
    const spend = (value: string, expiresAt: number) => ({ memoryMs: 1_000, token: 'a b', expiresAt, value })
    await ledger.append(tenant, 1, step(1, { spends: [spend('first', SOON)] }))
    await ledger.append(tenant, 1, step(2, { spends: [spend('later', SOON + 1)] }))
    await ledger.append(tenant, 1, step(1, { spends: [spend('first', SOON)] }))
    expect(await ledger.spends(tenant, '', 10)).toEqual([spend('later', SOON + 1)])
  })

  it('takes a key that comes several times in a step', async () => {
    const { ledger, tenant } = await create()
    await ledger.advance(tenant, 0)
    const spend = { memoryMs: 1_000, token: 'key', expiresAt: SOON, value: 'v' }
    expect(await ledger.append(tenant, 1, step(1, { spends: [spend, spend] }))).toBe('appended')
    expect(await ledger.spends(tenant, '', 10)).toEqual([spend])
  })

  it('gives what it has in pages, and not what is over', async () => {
    const { ledger, tenant, clock } = await create()
    await ledger.advance(tenant, 0)
    const names = ['a', 'b', 'c', 'd', 'e']
    const counters = names.map((name, at) => counter(name, name, at % 2 === 0 ? null : SOON))
    await ledger.append(tenant, 1, step(1, { counters }))
    const first = await ledger.counters(tenant, '', 3)
    const second = await ledger.counters(tenant, first.at(-1)?.name ?? '', 3)
    expect([first, second].map((page) => page.map(({ name }) => name))).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e']
    ])
    clock.jumpWallTo(SOON)
    expect((await ledger.counters(tenant, '', 10)).map(({ name }) => name)).toEqual(['a', 'c', 'e'])
  })
}
