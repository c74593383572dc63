import { approvedTool } from '@enablement/oversight/mcp'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import {
  acceptedContent,
  createMcpHandler,
  createRequestStateCodec,
  inputRequired,
  type McpHttpHandler,
  McpServer
} from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { origin, type Refund, refundSchema, type ToolOptions, type ToolStage, toolStage } from '../tool-call/stage.ts'

const order118: Refund = { order: '118', cents: 1_200 }
const codec = createRequestStateCodec<{ readonly call: string }>({ key: 'a secret of at least thirty-two bytes' })
const at = new URL('https://mcp.example/mcp')

/** An MCP server as one process of several would run it; `verified: false` forgets the codec's hook. */
function server(
  stage: ToolStage,
  changed: Partial<ToolOptions> & { readonly verified?: boolean } = {}
): McpHttpHandler {
  const { verified = true, ...more } = changed
  const refund = approvedTool({
    ...stage.process(),
    ...more,
    inputRequired,
    state: codec,
    origin: ({ http }) => ({ ...origin, thread: http?.authInfo?.clientId ?? 'nobody' }),
    approvalUrl: (requestId) => `https://inbox.example/${requestId}`,
    waitMs: 1_000
  })
  return createMcpHandler(() => {
    const hook = verified ? { requestState: { verify: codec.verify } } : {}
    const mcp = new McpServer({ name: 'refunds', version: '1.0.0' }, hook)
    mcp.registerTool('refund', { description: 'Refunds an order', inputSchema: refundSchema }, refund)
    return mcp
  })
}

/** What a client sent, so that it can be sent again. */
interface Wire {
  readonly bodies: string[]
  readonly client: Client
  /** The last answer to what was sent again, without the client's loop around it. */
  again(body: string, as?: string): Promise<unknown>
}

async function connect(
  handler: () => McpHttpHandler,
  options: {
    readonly action?: 'accept' | 'decline' | 'cancel'
    readonly elicitation?: boolean
    readonly maxRounds?: number
    readonly onElicit?: () => Promise<void> | void
  } = {}
): Promise<Wire> {
  const { action = 'accept', elicitation = true, maxRounds = 10, onElicit } = options
  const bodies: string[] = []
  const headersOf = new Map<string, Headers>()
  const send = (request: Request, clientId: string): Promise<Response> =>
    handler().fetch(request, { authInfo: { token: 't', clientId, scopes: [] } })
  const fetch = async (url: string | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(url, init)
    if (typeof init?.body === 'string') {
      bodies.push(init.body)
      headersOf.set(init.body, request.headers)
    }
    return send(request, 'client-1')
  }
  const capabilities = elicitation ? { elicitation: { url: {} } } : {}
  const client = new Client(
    { name: 'host', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: 'auto' }, inputRequired: { maxRounds } }
  )
  if (elicitation) {
    client.setRequestHandler('elicitation/create', async () => {
      await onElicit?.()
      return { action }
    })
  }
  await client.connect(new StreamableHTTPClientTransport(at, { fetch }))
  return {
    bodies,
    client,
    async again(body, as = 'client-1') {
      const original = [...headersOf].find(([sent]) => JSON.parse(sent).method === JSON.parse(body).method)?.[1]
      const answer = await send(new Request(at, { method: 'POST', body, ...(original && { headers: original }) }), as)
      const text = await answer.text()
      const data = /^data: (.*)$/m.exec(text)?.[1] ?? text
      return JSON.parse(data).result ?? JSON.parse(data).error
    }
  }
}

const refundOf = (client: Client): Promise<unknown> => client.callTool({ name: 'refund', arguments: order118 })

/** The bodies of the calls of the tool that carried a state: all rounds but the first. */
const roundsOf = ({ bodies }: Wire): readonly string[] => bodies.filter((body) => body.includes('requestState'))
const lastRound = (wire: Wire): string => roundsOf(wire).at(-1) as string

/** The round with a state that names another call, under the seal of this one. */
function forged(round: string): string {
  return round.replace(/"v1\.([^.]+)\./, (_, sealed: string) => {
    const text = Buffer.from(sealed, 'base64url').toString()
    const altered = text.replace(/"call":"[^"]*"/, '"call":"another-call"')
    expect(altered).not.toBe(text)
    return `"v1.${Buffer.from(altered).toString('base64url')}.`
  })
}

const paid = { content: [{ type: 'text', text: '{"paid":1200}' }], structuredContent: { paid: 1_200 } }
const told = (text: string) => ({ isError: true, content: [{ type: 'text', text: expect.stringContaining(text) }] })

describe('an approved call, replayed to an MCP server alone', () => {
  it('runs each time its last round is sent', async () => {
    let executions = 0
    const confirmation = z.object({ confirm: z.boolean() })
    const handler = createMcpHandler(() => {
      const mcp = new McpServer({ name: 'refunds', version: '1.0.0' }, { requestState: { verify: codec.verify } })
      mcp.registerTool('refund', { inputSchema: refundSchema }, async (_, context) => {
        if (acceptedContent(context.mcpReq.inputResponses, 'confirm', confirmation)?.confirm === true) {
          executions += 1
          return { content: [{ type: 'text', text: 'paid' }] }
        }
        const confirm = inputRequired.elicit({ message: 'Refund it?', requestedSchema: confirmation })
        const requestState = await codec.mint({ call: 'call-1' }, context)
        return inputRequired({ inputRequests: { confirm }, requestState })
      })
      return mcp
    })
    const bodies: string[] = []
    const headers: Headers[] = []
    const fetch = async (url: string | URL, init?: RequestInit): Promise<Response> => {
      const request = new Request(url, init)
      if (typeof init?.body === 'string' && init.body.includes('requestState')) {
        bodies.push(init.body)
        headers.push(request.headers)
      }
      return handler.fetch(request)
    }
    const client = new Client(
      { name: 'host', version: '1.0.0' },
      { capabilities: { elicitation: {} }, versionNegotiation: { mode: 'auto' } }
    )
    client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { confirm: true } }))
    await client.connect(new StreamableHTTPClientTransport(at, { fetch }))
    await client.callTool({ name: 'refund', arguments: order118 })
    expect(executions).toBe(1)
    const [body, sentWith] = [bodies[0] as string, headers[0] as Headers]
    const replay = async (): Promise<void> => {
      await (await handler.fetch(new Request(at, { method: 'POST', body, headers: sentWith }))).text()
    }
    await Promise.all([replay(), replay()])
    expect(executions).toBe(3)
    await client.close()
  })
})

describe('an approved call to an MCP server with oversight', () => {
  it('runs once, however often its rounds are sent again, and each has its result', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage), { onElicit: () => stage.approve() })
    expect(await stage.passing(refundOf(wire.client))).toMatchObject(paid)
    const round = lastRound(wire)
    const replays = await stage.passing(Promise.all([wire.again(round), wire.again(round), wire.again(round)]))
    for (const replayed of replays) expect(replayed).toMatchObject(paid)
    expect(stage.paid).toEqual([order118])
    expect(stage.requests).toHaveLength(1)
    await wire.client.close()
  })

  it('runs once though its last round arrives three times at the same time', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage))
    const call = refundOf(wire.client).catch(() => 'given up')
    await stage.until(() => roundsOf(wire).length > 0)
    await wire.client.close()
    await stage.approve()
    const round = lastRound(wire)
    const replays = await stage.passing(Promise.all([wire.again(round), wire.again(round), wire.again(round)]))
    for (const replayed of replays) expect(replayed).toMatchObject(paid)
    expect(stage.paid).toEqual([order118])
    await call
  })

  it('shows its page once, and is waited for after that', async () => {
    await using stage = await toolStage()
    let shown = 0
    const wire = await connect(() => server(stage), {
      onElicit() {
        shown += 1
      }
    })
    const call = refundOf(wire.client)
    // The wait of the second round, which then ends, and a third one begins.
    await stage.until(() => stage.platform.clock.pendingTimers > 0)
    expect(roundsOf(wire)).toHaveLength(1)
    await stage.until(() => roundsOf(wire).length > 1)
    await stage.approve()
    expect(await stage.passing(call)).toMatchObject(paid)
    expect(shown).toBe(1)
    await wire.client.close()
  })

  it('needs no client that can open pages', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage), { elicitation: false })
    const call = refundOf(wire.client)
    await stage.until(() => roundsOf(wire).length > 0)
    await stage.approve()
    expect(await stage.passing(call)).toMatchObject(paid)
    await wire.client.close()
  })

  it('tells a denial, a withdrawal and silence apart', async () => {
    await using stage = await toolStage()
    const denied = await connect(() => server(stage), { onElicit: () => stage.deny('not this order') })
    expect(await stage.passing(refundOf(denied.client))).toMatchObject(
      told('A person denied this call: not this order')
    )
    const declined = await connect(() => server(stage), { action: 'decline' })
    expect(await stage.passing(refundOf(declined.client))).toMatchObject(told('was withdrawn before anybody decided'))
    const silent = await connect(() => server(stage), { onElicit: () => stage.expire() })
    expect(await stage.passing(refundOf(silent.client))).toMatchObject(told('That is no refusal by a person'))
    expect(stage.paid).toEqual([])
    await Promise.all([denied, declined, silent].map(({ client }) => client.close()))
  })

  it('is not carried out for a user who declines when it is approved already', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage), { action: 'decline', onElicit: () => stage.approve() })
    expect(await stage.passing(refundOf(wire.client))).toMatchObject(told('The user declined this call'))
    expect(stage.paid).toEqual([])
    await wire.client.close()
  })

  it('is not approved by the user of its client', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage), { action: 'accept', maxRounds: 1 })
    await expect(stage.passing(refundOf(wire.client))).rejects.toThrow('still required input after 1 rounds')
    expect(stage.paid).toEqual([])
    expect((await stage.oversight.inspect(stage.requests[0] as string)).status).toBe('pending')
    await wire.client.close()
  })

  it('is refused with other arguments, with a state that was forged, and to another client', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage), { onElicit: () => stage.approve() })
    await stage.passing(refundOf(wire.client))
    const round = lastRound(wire)
    const other = round.replace('1200', '990000')
    expect(await stage.passing(wire.again(other))).toMatchObject(told('the tool or its arguments differ'))
    expect(await stage.passing(wire.again(forged(round)))).toMatchObject({ code: -32_602 })
    expect(await stage.passing(wire.again(round, 'client-2'))).toMatchObject({ resultType: 'input_required' })
    expect(stage.paid).toEqual([order118])
    expect(stage.requests).toHaveLength(2)
    await wire.client.close()
  })

  it('checks the state itself where the server was not told to', async () => {
    await using stage = await toolStage()
    const wire = await connect(() => server(stage, { verified: false }), { onElicit: () => stage.approve() })
    expect(await stage.passing(refundOf(wire.client))).toMatchObject(paid)
    expect(await stage.passing(wire.again(forged(lastRound(wire))))).toMatchObject(told('It was refused'))
    expect(stage.paid).toEqual([order118])
    await wire.client.close()
  })

  it('is in doubt when its effect throws, says so, and is not run again', async () => {
    await using stage = await toolStage()
    let runs = 0
    const effect = async (): Promise<never> => {
      runs += 1
      throw new Error('the connection was lost')
    }
    const wire = await connect(() => server(stage, { effect }), { onElicit: () => stage.approve() })
    expect(await stage.passing(refundOf(wire.client))).toMatchObject(told('whether it took effect is not known'))
    expect(await stage.passing(wire.again(lastRound(wire)))).toMatchObject(told('whether it took effect is not known'))
    expect(runs).toBe(1)
    await wire.client.close()
  })
})
