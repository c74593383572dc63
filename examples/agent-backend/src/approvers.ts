import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
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

/** Bo's desk, on the second tier, with a tray that outlives the process: a delivered invitation is not delivered again. */
export interface Desk extends Channel {
  /** Bo looks at what an earlier process left in her tray. */
  open(): void
}

/**
 * An invitation is with Bo as soon as it lies in her tray; her answer comes later, from outside of the delivery, as it
 * would from a web page.
 */
export function createDesk(options: {
  readonly folder: string
  readonly think: (invitation: Invitation) => Promise<Answer>
  readonly decide: (invitation: Invitation, answer: Answer) => Promise<void>
  readonly onFailure: (error: unknown) => void
}): Desk {
  const { think, decide, onFailure } = options
  const file = path.join(options.folder, 'tray.json')
  const tray = new Map<string, Invitation>(
    existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as [string, Invitation][]) : []
  )
  const keep = (): void => writeFileSync(file, JSON.stringify([...tray]))
  const answer = async (invitation: Invitation): Promise<void> => {
    await decide(invitation, await think(invitation))
    tray.delete(invitation.id)
    keep()
  }
  return {
    async deliver(invitation) {
      if (!tray.has(invitation.id)) {
        tray.set(invitation.id, invitation)
        keep()
        answer(invitation).catch(onFailure)
      }
      return { outcome: 'delivered' }
    },
    open() {
      for (const invitation of tray.values()) answer(invitation).catch(onFailure)
    }
  }
}

/** Bo in the default run: she reads the numbers, and allows what is within her means. */
export async function thinkForHerself(invitation: Invitation): Promise<Answer> {
  const { requestedLimitBytes } = invitation.excerpt
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
