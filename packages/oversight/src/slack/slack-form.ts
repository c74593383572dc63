import type { JsonObject } from '@enablement/core'
import type { RequestView } from '../request/request-view.ts'
import { captions, header, plain, section, words } from './slack-blocks.ts'
import type { ButtonValue } from './slack-button.ts'
import { excerptSections, facts } from './slack-message.ts'

/** What a form is known by when it is sent, and its fields. */
export const BALLOT = 'oversight.ballot'
export const DECISION = 'decision'
export const REASON = 'reason'

/** As long as the reason of a vote may be. */
export const REASON_LENGTH_MAX = 2_000

/** Slack's bound on the title and the buttons of a form: https://docs.slack.dev/reference/views/modal-views. */
const TITLE_LENGTH_MAX = 24
const SUMMARY_LENGTH_MAX = 2_000

/**
 * A form for a vote. One that belongs to a message of its own is for a denial, whose button has been used; one that
 * belongs to a digest asks for the decision, too.
 */
export function ballotForm(
  view: RequestView,
  form: { readonly value: ButtonValue; readonly single: boolean; readonly url: string | undefined }
): JsonObject {
  const { value, single, url } = form
  const decision = {
    type: 'input',
    block_id: DECISION,
    label: plain('Your decision', 100),
    element: {
      type: 'radio_buttons',
      action_id: DECISION,
      options: [option('Approve', 'approve'), option('Deny', 'deny')]
    }
  }
  const reason = {
    type: 'input',
    block_id: REASON,
    optional: !single,
    label: plain(single ? 'Why' : 'Why; needed to deny', 100),
    element: { type: 'plain_text_input', action_id: REASON, multiline: true, max_length: REASON_LENGTH_MAX }
  }
  return {
    ...frame(single ? 'Deny' : 'Review'),
    callback_id: BALLOT,
    private_metadata: JSON.stringify({ value, single, ...(url === undefined ? {} : { url }) }),
    submit: plain(single ? 'Deny' : 'Send', TITLE_LENGTH_MAX),
    blocks: [
      header(view.action),
      section(view.summary, SUMMARY_LENGTH_MAX),
      ...excerptSections(view.excerpt),
      captions(facts(view)),
      ...(single ? [] : [decision]),
      reason
    ]
  }
}

/** What a form turns into when its vote was not counted. */
export const noteForm = (note: string): JsonObject => ({ ...frame('Not counted'), blocks: [section(note)] })

/** What it turns into when the answer is not there in time. */
export const lateForm = (): JsonObject => ({
  ...frame('Under way'),
  blocks: [{ type: 'section', text: words('This takes longer than usual. You will be told what came of it.') }]
})

const frame = (title: string): JsonObject => ({
  type: 'modal',
  title: plain(title, TITLE_LENGTH_MAX),
  close: plain('Close', TITLE_LENGTH_MAX)
})

const option = (label: string, value: string): JsonObject => ({ text: plain(label, 75), value })
