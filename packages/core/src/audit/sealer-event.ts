import type { CheckpointRefusal } from './checkpoint-sink.ts'

/** What an operator of a sealer should hear of. */
export type AuditSealerEvent =
  /**
   * More entries than the window allows, or an older one, have no checkpoint: no sealer leads, or the sink or the signer
   * fails. Told once, until the window is kept again.
   */
  | { readonly type: 'audit.window-exceeded'; readonly rows: number; readonly ageMs: number }
  | { readonly type: 'audit.window-restored'; readonly exceededForMs: number }
  /**
   * A log cannot be sealed, because its head is damaged or was set back. Told in every run until it is mended; the other
   * logs are sealed.
   */
  | { readonly type: 'audit.sealing-failed'; readonly tenant: string; readonly error: unknown }
  /** Signing or keeping a checkpoint failed. All are tried again after `retryInMs`; sealing goes on. */
  | {
      readonly type: 'audit.checkpoint-failed'
      readonly tenant: string
      readonly error: unknown
      readonly retryInMs: number
    }
  /**
   * The sink refused a checkpoint. Between two leaders that is a race, and over with the next; told again and again, the
   * log is not what the sink has seen of it.
   */
  | {
      readonly type: 'audit.checkpoint-refused'
      readonly tenant: string
      readonly size: number
      readonly reason: CheckpointRefusal
      readonly newestSize: number
    }
  /**
   * The log is not what it was when the sink's newest checkpoint was signed: `shorter`, because it was cut or set back;
   * `rewritten`; or `unreadable`, because parts of the tree are missing, or its head, and then `size` is 0. Nothing of it
   * is signed until it is mended.
   */
  | {
      readonly type: 'audit.log-damaged'
      readonly tenant: string
      readonly damage: 'shorter' | 'rewritten' | 'unreadable'
      readonly size: number
      readonly signedSize: number
    }
