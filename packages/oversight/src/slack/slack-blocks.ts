import type { JsonObject } from '@enablement/core'
import { type ButtonValue, encodeButton } from './slack-button.ts'
import { escaped, shown, shownOnOneLine } from './slack-text.ts'

/**
 * Blocks of Slack's Block Kit. Text of agents and people is `plain_text`, in which Slack reads no markup; `mrkdwn` holds
 * our own words and dates alone. Lengths: https://docs.slack.dev/reference/block-kit/blocks.
 */
export type Block = JsonObject

const HEADER_LENGTH_MAX = 150
const SECTION_LENGTH_MAX = 3_000
/** Slack has no number for the texts of a context; as much as a caption can be. */
const CAPTION_LENGTH_MAX = 300

export const plain = (text: string, lengthMax: number): JsonObject => ({
  type: 'plain_text',
  // Slack takes no empty text.
  text: escaped(text, lengthMax) || ' ',
  emoji: false
})

/** Our own words: nothing that others wrote goes in. */
export const words = (text: string): JsonObject => ({ type: 'mrkdwn', text, verbatim: true })

export const caption = (text: string): JsonObject => plain(shownOnOneLine(text), CAPTION_LENGTH_MAX)

export const header = (text: string): Block => ({
  type: 'header',
  text: plain(shownOnOneLine(text), HEADER_LENGTH_MAX)
})

export const section = (text: string, lengthMax = SECTION_LENGTH_MAX): Block => ({
  type: 'section',
  text: plain(shown(text), lengthMax)
})

/** Whether a section cannot show all of a text. */
export const isCut = (text: string): boolean =>
  escaped(shown(text), SECTION_LENGTH_MAX) !== escaped(shown(text), Number.POSITIVE_INFINITY)

export const captions = (elements: readonly JsonObject[]): Block => ({ type: 'context', elements })

export const button = (actionId: string, label: string, value: ButtonValue, more: JsonObject = {}): JsonObject => ({
  type: 'button',
  action_id: actionId,
  text: plain(label, 75),
  value: encodeButton(value),
  ...more
})
