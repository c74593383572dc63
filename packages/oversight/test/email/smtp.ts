import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createTransport, type Transporter } from 'nodemailer'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

/** A mail as a server took it. */
export interface TakenMail {
  readonly from: string
  readonly to: string
  readonly raw: string
}

/** What the server says to a command, such as `550 5.1.1 no such user`; undefined when it has nothing against it. */
export interface SmtpScript {
  from?(address: string): string | undefined
  to?(address: string): string | undefined
  message?(mail: TakenMail): string | undefined
  /** In place of a reply to the message. */
  readonly onMessage?: 'drop' | 'stall'
}

export interface SmtpStage extends AsyncDisposable {
  readonly transport: Transporter
  readonly port: number
  /** What was taken, in order. */
  readonly taken: readonly TakenMail[]
  /** Every RCPT TO. */
  readonly tried: readonly string[]
  script: SmtpScript
}

const pooled = { pool: true, maxConnections: 1 } as const

/** A real server on this machine, and a transporter that is connected to it. */
export async function smtpStage(
  options: { readonly server?: SMTPServerOptions; readonly client?: object } = {}
): Promise<SmtpStage> {
  const taken: TakenMail[] = []
  const tried: string[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    // Replies are those of the script, and nothing is put into them.
    hideENHANCEDSTATUSCODES: true,
    closeTimeout: 1,
    onMailFrom: (address, _, answer) => answer(refusal(stage.script.from?.(address.address))),
    onRcptTo(address, _, answer) {
      tried.push(address.address)
      answer(refusal(stage.script.to?.(address.address)))
    },
    onData(stream, session, answer) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        if (stage.script.onMessage === 'drop') for (const { _socket: socket } of server.connections) socket.destroy()
      })
      stream.on('end', () => {
        if (stage.script.onMessage !== undefined) return
        const { mailFrom, rcptTo } = session.envelope
        const from = mailFrom === false ? '' : mailFrom.address
        const mail = { from, to: rcptTo.map(({ address }) => address).join(), raw: Buffer.concat(chunks).toString() }
        const refused = refusal(stage.script.message?.(mail))
        if (refused === undefined) taken.push(mail)
        answer(refused)
      })
    },
    ...options.server
  })
  // Connections that the tests break.
  server.on('error', () => {})
  const listening = server.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const { port } = listening.address() as AddressInfo
  // One connection: the server waits a tenth of a second before it greets.
  const transport = createTransport({ host: '127.0.0.1', port, ignoreTLS: true, ...pooled, ...options.client })
  const stage: SmtpStage = {
    transport,
    port,
    taken,
    tried,
    script: {},
    async [Symbol.asyncDispose]() {
      transport.close()
      for (const { _socket: socket } of server.connections) socket.destroy()
      await new Promise<void>((resolve) => server.close(resolve))
    }
  }
  return stage
}

function refusal(reply: string | undefined): Error | undefined {
  if (reply === undefined) return undefined
  return Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) })
}
