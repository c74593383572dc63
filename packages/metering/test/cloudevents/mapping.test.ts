import { fromCloudEvent, toCloudEvent } from '@enablement/metering/cloudevents'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const event = {
  specversion: '1.0',
  id: 'A234-1234-1234',
  source: '/gateway/7',
  type: 'llm-tokens',
  subject: 'sub_42',
  time: '2026-01-15T10:30:00Z',
  datacontenttype: 'application/json',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  data: { quantity: 1_204, model: 'small' }
}
const usage = {
  tenant: 'org',
  subscription: 'sub_42',
  transactionId: '/gateway/7 A234-1234-1234',
  metric: 'llm-tokens',
  quantity: 1_204,
  at: Date.UTC(2026, 0, 15, 10, 30),
  source: '/gateway/7',
  properties: { model: 'small' }
}
const read = (changed: object) => fromCloudEvent({ ...event, ...changed }, { tenant: 'org' })
const refusedPaths = (changed: object): readonly string[] => {
  const outcome = read(changed)
  return outcome.outcome === 'accepted' ? [] : outcome.issues.map(({ path }) => path)
}

describe('usage from a CloudEvent', () => {
  it('is known by source and id, and leaves out what differs between attempts', () => {
    expect(read({})).toEqual({ outcome: 'accepted', usage })
    expect(read({ traceparent: 'other', sequence: '2', dataschema: null })).toEqual(read({}))
    expect(fromCloudEvent(event, { tenant: 'org', identity: 'id' })).toMatchObject({
      usage: { transactionId: 'A234-1234-1234' }
    })
  })

  it('is another one from another source, whatever the names are (research C6)', () => {
    const of = (source: string, id: string): unknown => {
      const outcome = read({ source, id })
      return outcome.outcome === 'accepted' ? outcome.usage.transactionId : outcome
    }
    const ids = [of('a', 'b c'), of('a', 'b'), of('b', 'a'), of('a/b', 'c'), of('a', 'x'.repeat(255))]
    expect(new Set(ids).size).toBe(5)
    expect(of('a', 'x'.repeat(255))).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(of('a', '億'.repeat(160))).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(of('a', 'x'.repeat(254))).not.toBe(of('a', 'x'.repeat(255)))
  })

  it.each([
    ['2026-01-15T10:30:00.123456789Z', 123],
    ['2026-01-15T10:30:00.1234567891234Z', 123],
    ['2026-01-15t11:30:00.5+01:00', 500],
    ['2026-01-15T05:00:00-05:30', 0]
  ])('takes %s to the millisecond', (time, ms) => {
    expect(read({ time })).toMatchObject({ usage: { at: usage.at + ms } })
  })

  it.each([
    ['specversion', { specversion: '0.3' }],
    ['specversion', { specversion: undefined }],
    ['id', { id: '' }],
    ['id', { id: 7 }],
    ['source', { source: '' }],
    ['source', { source: 'a b' }],
    ['source', { source: 'x'.repeat(256) }],
    ['type', { type: undefined }],
    ['subject', { subject: null }],
    ['time', { time: undefined }],
    ['time', { time: '2026-01-15' }],
    ['time', { time: '2026-01-15T10:30:00' }],
    ['time', { time: '2026-02-30T10:30:00Z' }],
    ['time', { time: 1_768_473_000_000 }],
    ['time', { time: `2026-01-15T10:30:00.${'1'.repeat(1_000_000)}Z` }],
    ['time', { time: '1970-01-01T00:00:00Z' }],
    ['data', { data: undefined }],
    ['data', { data: 'text' }],
    ['data', { data: [1] }],
    ['data_base64', { data_base64: 'e30=' }],
    ['data.quantity', { data: {} }],
    ['data.quantity', { data: { quantity: '5' } }],
    ['data.quantity', { data: { quantity: -1 } }],
    ['data', { data: { quantity: 1, big: 'x'.repeat(10_000) } }]
  ])('is refused for %s in %o', (path, changed) => {
    expect(refusedPaths(changed)).toContain(path)
  })

  it('is refused, and nothing thrown, for what throws, and cannot choose its tenant', () => {
    const hostile = new Proxy(event, {
      get: () => {
        throw new Error('hostile')
      }
    })
    for (const input of [hostile, null, 'event', [event]]) {
      expect(fromCloudEvent(input, { tenant: 'org' })).toMatchObject({ outcome: 'rejected' })
    }
    expect(read({ tenant: 'other' })).toMatchObject({ usage: { tenant: 'org' } })
  })
})

describe('a CloudEvent of usage', () => {
  it('has the id that it came with', () => {
    const { traceparent: _, ...own } = event
    expect(toCloudEvent(usage, { source: 'urn:ours' })).toEqual({ ...own, time: '2026-01-15T10:30:00Z' })
  })

  it('has the source of the sender where none is known', () => {
    const { source: _, ...anonymous } = { ...usage, transactionId: 'call-1' }
    expect(toCloudEvent(anonymous, { source: 'urn:ours' })).toMatchObject({ source: 'urn:ours', id: 'call-1' })
  })

  it.each([
    ['usage that is none', { ...usage, quantity: -1 }],
    ['a property in the place of the quantity', { ...usage, properties: { quantity: 1 } }],
    ['a source with a space', { ...usage, source: 'host 1' }]
  ])('is not made of %s', (_what, wrong) => {
    expect(() => toCloudEvent(wrong, { source: 'urn:ours' })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })

  const id = fc.string({ minLength: 1, maxLength: 120, unit: fc.constantFrom(...'ab /#?%"\\é💶'.split('')) })
  const valid = fc.record({
    tenant: fc.constant('org'),
    subscription: id,
    transactionId: id,
    metric: id,
    quantity: fc.nat(),
    at: fc.integer({ min: 946_684_800_000, max: 253_402_300_799_999 }),
    source: fc.string({ minLength: 1, maxLength: 60, unit: fc.constantFrom(...'ab/:#?%'.split('')) }),
    properties: fc.dictionary(
      fc.string({ minLength: 1, maxLength: 5 }),
      fc.oneof(fc.nat(), fc.string({ maxLength: 5 }))
    )
  })
  test.prop([valid], { numRuns: Math.ceil(300 * inject('scale')) })('comes back as it went out', (given) => {
    fc.pre(
      [given.subscription, given.transactionId, given.metric].every((text) => text.trim() !== '' && text.isWellFormed())
    )
    fc.pre(!Object.hasOwn(given.properties, 'quantity'))
    fc.pre(!given.transactionId.startsWith(`${given.source} `))
    const sent = JSON.parse(JSON.stringify(toCloudEvent(given, { source: 'urn:ours' }))) as unknown
    expect(fromCloudEvent(sent, { tenant: 'org', identity: 'id' })).toEqual({ outcome: 'accepted', usage: given })
    const paired = fromCloudEvent(sent, { tenant: 'org' })
    if (paired.outcome === 'accepted' && !paired.usage.transactionId.startsWith('sha256:')) {
      expect(toCloudEvent(paired.usage, { source: 'urn:ours' })).toEqual(sent)
    }
  })
})
