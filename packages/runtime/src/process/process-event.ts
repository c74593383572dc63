/** What a process host tells. */
export type ProcessEvent =
  /** A guest asked for a connection. */
  | {
      readonly type: 'process.egress'
      readonly sandboxId: string
      readonly host: string
      readonly port: number
      readonly outcome: 'allowed' | 'refused' | 'failed'
      readonly reason?: string
    }
  /** Something was left of hosts that were killed, and is gone now. */
  | { readonly type: 'process.reaped'; readonly sandboxes: number; readonly processes: number }
