/** Where a message is, as `deliver` returns it and the store keeps it. */
export interface SlackReceipt {
  readonly channelId: string
  /** Slack's id of a message within a conversation. */
  readonly ts: string
  /** Of a digest: the requests that it lists, in order. */
  readonly requestIds?: readonly string[]
}

const RECEIPT = /^([A-Z0-9]{1,64}):(\d{1,16}\.\d{1,10})(?::(.{1,1024}))?$/

/** A digest of 20 requests, with ids of 36 characters, has 780 of the 1,024 characters that a receipt may have. */
export function encodeReceipt({ channelId, ts, requestIds }: SlackReceipt): string {
  return `${channelId}:${ts}${requestIds === undefined ? '' : `:${requestIds.join(',')}`}`
}

/** Undefined for what is none, such as the receipt of another channel that had this one's name before. */
export function decodeReceipt(text: string | undefined): SlackReceipt | undefined {
  const match = RECEIPT.exec(text ?? '')
  if (match === null) return undefined
  const [, channelId, ts, requestIds] = match as unknown as [string, string, string, string | undefined]
  return { channelId, ts, ...(requestIds === undefined ? {} : { requestIds: requestIds.split(',') }) }
}
