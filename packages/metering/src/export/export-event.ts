/** What an export tells an observer, after it is on record. */
export type ExportEvent =
  /** So many events are there, or are not for the target. */
  | { readonly type: 'export.sent'; readonly exporter: string; readonly events: number; readonly position: number }
  /** An event is set aside: see `setAside` of the export. Alert on it. */
  | {
      readonly type: 'export.refused'
      readonly exporter: string
      readonly tenant: string
      readonly subscription: string
      readonly transactionId: string
      readonly reason: string
    }
  | {
      readonly type: 'export.failed'
      readonly exporter: string
      readonly attempt: number
      readonly retryInMs: number
      readonly error: unknown
    }
  /** So much is set aside that something must be wrong with all of it: nothing more is sent until somebody looks. */
  | { readonly type: 'export.stopped'; readonly exporter: string; readonly setAside: number }
