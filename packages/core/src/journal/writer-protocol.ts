/** What writes and syncs, one command at a time: a thread, or this one on a disk that does not block. */
export interface BatchWriter {
  /** Resolves when the command is done, and never rejects. `transfer` goes with it, and comes back with the answer. */
  perform(command: ToWriter, transfer?: readonly ArrayBuffer[]): Promise<FromWriter>
  end(): Promise<void>
}

/** What the writer's thread is started with. */
export interface WriterData {
  readonly folder: string
}

/** To whatever writes; it answers each with one `FromWriter`, in order. */
export type ToWriter =
  /**
   * Writes bytes at `atBytes` of the segment under way and syncs them. With `begin`, makes a segment first and goes on
   * in that one.
   */
  | {
      readonly kind: 'write'
      readonly begin: { readonly name: string; readonly header: Uint8Array } | undefined
      readonly atBytes: number
      /** Owned by the writer until it answers. */
      readonly bytes: Uint8Array
      readonly lengthBytes: number
    }
  /** Writes a seal at `atBytes`, syncs it and closes the segment. */
  | { readonly kind: 'seal'; readonly atBytes: number; readonly seal: Uint8Array }

/** From it. */
export type FromWriter = WriteEnd & {
  /** The bytes of the command, for the next one. */
  readonly bytes?: Uint8Array
}

/** What became of a command. `code` and `syscall` are the system's. */
export type WriteEnd =
  | { readonly outcome: 'synced' }
  /** Nothing of its bytes is in the file, durably so; the next write may succeed. `begun` tells whether its segment is. */
  | { readonly outcome: 'undone'; readonly begun: boolean; readonly code: string; readonly syscall: string }
  /**
   * A sync failed, or undoing did: what is on the disk is unknown. The writer gets no further command, for the same sync
   * on the same file would succeed without having written anything.
   */
  | { readonly outcome: 'failed'; readonly code: string; readonly syscall: string }
