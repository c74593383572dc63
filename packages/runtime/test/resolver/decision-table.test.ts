import { testPlatform } from '@enablement/core/testing'
import { createResolver } from '@enablement/runtime/network'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { a, fakeNameServer, type Respond, rcode, reply } from '../fakes/fake-name-server.ts'

const NAME = 'api.example.com'
const PIN = '203.0.113.5'
const STALE_MAX_MS = 120_000
const STALE_TTL_MS = 30_000
const MISSING_MS = 5_000
const TTL_MAX_MS = 60_000

/** What a server says: an address with a TTL in seconds, no such name, no such records, or a failure. */
type Says = { readonly address: string; readonly ttl: number } | 'nxdomain' | 'no-data' | 'servfail'

type Step =
  | { readonly kind: 'servers'; readonly primary: Says; readonly secondary: Says }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'look up' }

interface Known {
  readonly address: string
  readonly expiresAt: number
  readonly staleUntil: number
  readonly goodUntil: number
}

/** The rules of the catalog for one name and two servers, as plainly as they can be written. */
class Model {
  known: Known | undefined
  missingUntil = 0
  restUntil = 0
  readonly pinned: boolean
  readonly staleZeroTtl: boolean

  constructor(pinned: boolean, staleZeroTtl: boolean) {
    this.pinned = pinned
    this.staleZeroTtl = staleZeroTtl
  }

  lookUp(now: number, servers: readonly Says[]): string {
    const { known } = this
    const makeshift = (staleToo: boolean): string | undefined => {
      if (staleToo && this.known !== undefined && now < this.known.staleUntil) return `stale ${this.known.address}`
      return this.pinned ? `pinned ${PIN}` : undefined
    }
    if (known !== undefined && now < known.expiresAt) return `cache ${known.address}`
    if (now < this.restUntil) {
      const left = makeshift(true)
      if (left !== undefined) return left
    }
    if (now < this.missingUntil) return 'NAME_NOT_FOUND'

    const knownGood = this.pinned || (known !== undefined && now < known.goodUntil)
    const denials: Says[] = []
    for (const says of servers) {
      if (says === 'servfail') continue
      if (typeof says === 'object') {
        const ttlMs = says.ttl === 0 ? 0 : Math.min(says.ttl * 1_000, TTL_MAX_MS)
        const expiresAt = now + ttlMs
        const lasts = ttlMs > 0 || this.staleZeroTtl
        this.known = {
          address: says.address,
          expiresAt,
          staleUntil: lasts ? expiresAt + STALE_MAX_MS : expiresAt,
          goodUntil: expiresAt + STALE_MAX_MS
        }
        this.missingUntil = 0
        this.restUntil = 0
        return `asked ${says.address}`
      }
      denials.push(says)
      if (!knownGood) break
    }
    const answered = knownGood ? denials.length === servers.length : denials.length > 0
    if (answered) {
      this.known = undefined
      if (denials.includes('nxdomain')) {
        this.missingUntil = now + MISSING_MS
        this.restUntil = 0
      }
    }
    const left = makeshift(!answered)
    if (left === undefined) return answered ? 'NAME_NOT_FOUND' : 'NAME_UNRESOLVED'
    this.restUntil = now + STALE_TTL_MS
    return left
  }
}

const says: fc.Arbitrary<Says> = fc.oneof(
  fc.record({ address: fc.constantFrom('192.0.2.1', '192.0.2.2'), ttl: fc.constantFrom(0, 1, 10, 1_000) }),
  fc.constantFrom<Says>('nxdomain', 'no-data', 'servfail', 'servfail')
)
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('servers' as const), primary: says, secondary: says }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('wait' as const),
        // On both sides of every bound.
        ms: fc.constantFrom(1, 999, 1_000, 4_999, 5_000, 10_000, 29_999, 30_000, 60_000, 119_999, 120_000)
      })
    },
    { weight: 3, arbitrary: fc.constant<Step>({ kind: 'look up' }) }
  ),
  { minLength: 4, maxLength: 24 }
)

const respondWith =
  (told: Says): Respond =>
  (asked) => {
    if (typeof told === 'object') return reply(asked, [a(asked.name, told.address, told.ttl)])
    return reply(asked, [], {
      code: told === 'servfail' ? rcode.servfail : told === 'nxdomain' ? rcode.nxdomain : rcode.noerror
    })
  }

describe('the decision table of a resolver', () => {
  test.prop([steps, fc.boolean(), fc.boolean()], { numRuns: Math.ceil(80 * inject('scale')) })(
    'is that of the catalog, whatever two servers say and however time passes',
    async (script, pinned, staleZeroTtl) => {
      await using primary = await fakeNameServer(respondWith('servfail'))
      await using secondary = await fakeNameServer(respondWith('servfail'))
      const platform = testPlatform()
      const resolver = createResolver({
        platform,
        primary: [primary.address],
        secondary: [secondary.address],
        staleMaxMs: STALE_MAX_MS,
        ttlMaxMs: TTL_MAX_MS,
        staleZeroTtl,
        ...(pinned ? { pinned: { [NAME]: [PIN] } } : {})
      })
      const model = new Model(pinned, staleZeroTtl)
      let servers: readonly Says[] = ['servfail', 'servfail']
      let now = 0
      for (const step of script) {
        if (step.kind === 'wait') {
          now += step.ms
          await platform.clock.advance(step.ms)
        } else if (step.kind === 'servers') {
          servers = [step.primary, step.secondary]
          primary.respond = respondWith(step.primary)
          secondary.respond = respondWith(step.secondary)
        } else {
          const found = await resolver.resolve(NAME, { family: 4 }).then(
            ({ source, addresses }) => `${source} ${addresses.map(({ address }) => address).join(' ')}`,
            (error: { code: string }) => error.code
          )
          expect(found).toBe(model.lookUp(now, servers))
        }
      }
      expect(platform.clock.pendingTimers).toBe(0)
    }
  )
})
