import { createInterface } from 'node:readline/promises'
import type { Channel, Invitation } from '@enablement/oversight'

/** What an approver answers to an invitation. */
export interface Answer {
  readonly decision: 'approve' | 'deny'
  readonly reason: string
}

/** Ana's pager is off: she is on the first tier, and nobody there can be reached. */
export const pager: Channel = {
  async deliver() {
    return { outcome: 'unreachable', reason: 'the pager is switched off' }
  }
}

/**
 * Bo sits at the desk: the second tier. An invitation is with her as soon as it is delivered; her answer comes later,
 * from outside of the delivery, as it would from a web page.
 */
export function deskOf(options: {
  readonly think: (invitation: Invitation) => Promise<Answer>
  readonly decide: (invitation: Invitation, answer: Answer) => Promise<void>
  readonly onFailure: (error: unknown) => void
}): Channel {
  return {
    async deliver(invitation) {
      options
        .think(invitation)
        .then((answer) => options.decide(invitation, answer))
        .catch(options.onFailure)
      return { outcome: 'delivered' }
    }
  }
}

/** Bo in the default run: she reads the numbers, and allows what is within her means. */
export async function thinkForHerself(invitation: Invitation): Promise<Answer> {
  const { requestedLimitBytes } = invitation.detail
  const affordable = typeof requestedLimitBytes === 'number' && requestedLimitBytes <= 256 * 2 ** 20
  return affordable
    ? { decision: 'approve', reason: 'within the budget of the team' }
    : { decision: 'deny', reason: 'more than the team may spend' }
}

/** Bo in the terminal. */
export async function askInTerminal(invitation: Invitation): Promise<Answer> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const reply = await terminal.question(`\n  ${invitation.summary}\n  Allow it? [y/N] `)
    return /^y(es)?$/i.test(reply.trim())
      ? { decision: 'approve', reason: 'approved in the terminal' }
      : { decision: 'deny', reason: 'denied in the terminal' }
  } finally {
    terminal.close()
  }
}

/** Bo on holiday: the answer never comes. */
export const neverAnswer = (): Promise<Answer> => new Promise(() => {})
