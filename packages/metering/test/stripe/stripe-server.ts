import { localServer } from '../export/stage.ts'

export const KEY = 'rk_test_51HsecretSECRETsecret'

/** As much of Stripe's v1 meter events as an export meets: what it takes, refuses and knows again. */
export async function stripeServer(now: () => number) {
  const events = new Map<string, URLSearchParams>()
  const customers = new Set(['cus_1', 'cus_2', 'cus_3'])
  const refuse = (status: number, message: string, code?: string) => ({
    status,
    body: { error: { type: 'invalid_request_error', message, ...(code === undefined ? {} : { code }) } }
  })
  const server = await localServer((request, body) => {
    if (request.method !== 'POST' || request.url !== '/v1/billing/meter_events') return refuse(404, 'Unrecognized URL')
    if (request.headers.authorization !== `Bearer ${KEY}`) return refuse(401, 'Invalid API Key provided')
    if (request.headers['content-type'] !== 'application/x-www-form-urlencoded') return refuse(400, 'Invalid request')
    const form = new URLSearchParams(body)
    const identifier = form.get('identifier') ?? ''
    if (identifier.length === 0 || identifier.length > 100) return refuse(400, 'Invalid identifier')
    if (form.get('event_name') !== 'api_calls') return refuse(400, 'No active meter found', 'no_meter')
    const ageS = now() / 1_000 - Number(form.get('timestamp'))
    if (ageS > 35 * 86_400) return refuse(400, 'timestamp too old', 'timestamp_too_far_in_past')
    if (ageS < -300) return refuse(400, 'timestamp ahead', 'timestamp_in_future')
    if (!customers.has(form.get('payload[stripe_customer_id]') ?? '')) return refuse(400, 'No such customer: cus_x')
    if (!/^-?\d+(\.\d+)?$/.test(form.get('payload[value]') ?? '')) return refuse(400, 'Invalid value')
    // In words alone, as v1 does it.
    if (events.has(identifier)) return refuse(400, `An event already exists with identifier ${identifier}.`)
    events.set(identifier, form)
    return { status: 200, body: { object: 'billing.meter_event', identifier } }
  })
  return Object.assign(server, { events })
}
