import { type Channel, OversightError } from '@enablement/oversight'

/** Pushes to phones through an ntfy server (https://docs.ntfy.sh/publish/#publish-as-json): addresses are topics. */
export function ntfyChannel(server: string, openUrl: (requestId: string) => string): Channel {
  const push = (message: object, signal: AbortSignal): Promise<Response> =>
    fetch(server, { method: 'POST', body: JSON.stringify(message), redirect: 'error', signal })
  const waitMs = ({ headers }: Response): number => (Number(headers.get('retry-after')) || 60) * 1_000

  return {
    async deliver({ kind, requestId, action, risk, summary, approver }, { signal }) {
      const title = kind === 'reminder' ? `Still waiting: ${action}` : `Approve ${action}?`
      const click = openUrl(requestId)
      const response = await push({ topic: approver.address, title, message: summary, tags: [risk], click }, signal)
      const reason = `HTTP_${response.status}`
      if (response.ok) return { outcome: 'delivered' }
      if (response.status === 429) return { outcome: 'postponed', reason, afterMs: waitMs(response) }
      return { outcome: response.status >= 500 ? 'retry' : 'unreachable', reason }
    },
    async update({ summary, verdict, approver }, { signal }) {
      const title = 'by' in verdict ? `${verdict.outcome} by ${verdict.by}` : verdict.outcome
      const response = await push({ topic: approver.address, title, message: summary }, signal)
      if (response.ok || (response.status < 500 && response.status !== 429)) return
      const reason = `HTTP_${response.status}`
      throw new OversightError('CHANNEL_FAILED', `ntfy took no verdict: ${reason}`, {
        reason,
        retryAfterMs: waitMs(response)
      })
    }
  }
}
