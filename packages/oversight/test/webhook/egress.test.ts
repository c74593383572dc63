import { isSuiteError } from '@enablement/core'
import { type EgressAllowance, fetchTransport, type WebhookFetch } from '@enablement/oversight/webhook'
import { describe, expect, it } from 'vitest'

/** What the transport asks `fetch` for, or why it does not. */
async function called(url: string, allow?: EgressAllowance): Promise<string> {
  const asked: string[] = []
  const fetch: WebhookFetch = async (href) => {
    asked.push(href)
    return { status: 200, headers: new Headers(), body: null }
  }
  const transport = fetchTransport({ fetch, ...(allow === undefined ? {} : { allow }) })
  const { signal } = new AbortController()
  const reply = await transport.post(url, { headers: {}, body: new Uint8Array() }, { signal })
  return reply.outcome === 'refused' ? reply.because : (asked[0] ?? 'nothing')
}

describe('the URL of an endpoint', () => {
  it.each([
    'https://hooks.example.com/approvals?team=a',
    'https://HOOKS.example.com',
    'https://hooks.example.com:443/x',
    'https://hooks.example.com./x',
    'https://xn--bcher-kva.de/',
    'https://8.8.8.8/x',
    'https://[2606:4700::1111]/x'
  ])('%s is called', async (url) => {
    expect(await called(url)).toBe(new URL(url).href)
  })

  it.each([
    ['http://hooks.example.com/', 'scheme'],
    ['ftp://hooks.example.com/', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['data:text/plain,x', 'scheme'],
    ['gopher://127.0.0.1:6379/_FLUSHALL', 'scheme'],
    ['', 'malformed-url'],
    ['hooks.example.com', 'malformed-url'],
    [`https://hooks.example.com/${'x'.repeat(2_048)}`, 'malformed-url'],
    ['https://user@hooks.example.com/', 'credentials'],
    ['https://user:secret@hooks.example.com/', 'credentials'],
    ['https://@hooks.example.com/', 'credentials'],
    ['https://hooks.example.com:22/', 'port'],
    ['https://hooks.example.com:80/', 'port'],
    ['https://hooks.example.com:8443/', 'port'],
    ['https://127.0.0.1/', 'loopback'],
    ['https://[::1]/', 'loopback'],
    ['https://10.0.0.8/', 'private'],
    ['https://169.254.169.254/latest/meta-data/', 'metadata'],
    ['https://168.63.129.16/', 'metadata'],
    ['https://[fd00:ec2::254]/', 'metadata'],
    ['https://[fe80::1]/', 'link-local'],
    ['https://[::ffff:7f00:1]/', 'translated'],
    ['https://[64:ff9b::7f00:1]/', 'translated'],
    ['https://100.64.0.1/', 'carrier-grade-nat'],
    ['https://0.0.0.0/', 'unspecified'],
    ['https://224.0.0.1/', 'multicast'],
    ['https://255.255.255.255/', 'reserved'],
    // Numbers that are addresses to some parsers, be they public or not.
    ['https://2130706433/', 'ambiguous-host'],
    ['https://134744072/', 'ambiguous-host'],
    ['https://0x7f.1/', 'ambiguous-host'],
    ['https://0x7f000001/', 'ambiguous-host'],
    ['https://0177.0.0.1/', 'ambiguous-host'],
    ['https://127.1/', 'ambiguous-host'],
    ['https://127.0.0.1./', 'ambiguous-host'],
    ['https://１２７.0.0.1/', 'ambiguous-host'],
    ['https://127。0。0。1/', 'ambiguous-host'],
    ['https://%31%32%37.0.0.1/', 'ambiguous-host'],
    ['https://[::ffff:127.0.0.1]/', 'ambiguous-host'],
    ['https://[0:0:0:0:0:0:0:1]/', 'ambiguous-host'],
    ['https://bücher.de/', 'ambiguous-host'],
    // Stripped, folded or turned around by URL parsers.
    ['https:\\\\hooks.example.com/', 'ambiguous-host'],
    ['https://hooks.example.com\\@127.0.0.1/', 'credentials'],
    ['https:/hooks.example.com/', 'ambiguous-host'],
    ['https:hooks.example.com/', 'ambiguous-host'],
    [' https://hooks.example.com/', 'ambiguous-host'],
    ['https://hooks.exa\tmple.com/', 'ambiguous-host'],
    ['https://hooks.example.com/\n', 'ambiguous-host'],
    // Names that are inside.
    ['https://localhost/', 'local-name'],
    ['https://LOCALHOST./', 'local-name'],
    ['https://app.localhost/', 'local-name'],
    ['https://redis/', 'local-name'],
    ['https://metadata.google.internal/', 'local-name'],
    ['https://printer.local/', 'local-name'],
    ['https://nas.home.arpa/', 'local-name']
  ])('%j is refused: %s', async (url, because) => {
    expect(await called(url)).toBe(because)
  })

  it('may be what was allowed in words, and nothing besides', async () => {
    const allow = {
      plainHttp: true,
      ports: [8_080],
      addresses: ['10.20.0.0/16', 'fd12::/16'],
      hosts: ['Hooks.internal']
    }
    expect(await called('http://10.20.1.2:8080/', allow)).toBe('http://10.20.1.2:8080/')
    expect(await called('http://10.20.1.2/', allow)).toBe('http://10.20.1.2/')
    expect(await called('https://[fd12::1]/', allow)).toBe('https://[fd12::1]/')
    expect(await called('https://hooks.internal/', allow)).toBe('https://hooks.internal/')
    expect(await called('https://10.21.1.2/', allow)).toBe('private')
    expect(await called('https://[::ffff:a14:102]/', allow)).toBe('translated')
    expect(await called('https://other.internal/', allow)).toBe('local-name')
    expect(await called('https://10.20.1.2:8081/', allow)).toBe('port')
  })

  it.each([
    [{ addresses: ['10.20.0.1/16'] }, 'allow.addresses.0'],
    [{ addresses: ['10.0.0.0/33'] }, 'allow.addresses.0'],
    [{ addresses: ['everything'] }, 'allow.addresses.0'],
    [{ ports: [0] }, 'allow.ports.0'],
    [{ ports: [Number.NaN] }, 'allow.ports.0'],
    [{ plainHTTP: true }, 'allow.plainHTTP']
  ])('is not loosened by a malformed allowance: %j', async (allow, path) => {
    const error = await called('https://8.8.8.8/', allow as EgressAllowance).catch((thrown: unknown) => thrown)
    expect(isSuiteError(error, 'INVALID_OPTIONS') && error.detail).toMatchObject({ issues: [{ path }] })
  })
})
