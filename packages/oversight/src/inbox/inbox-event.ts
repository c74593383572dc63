/** What `observe` is told of. */
export type InboxEvent =
  /** A request was turned away for safety's sake; nothing was done. */
  | {
      readonly type: 'inbox.refused'
      readonly because: 'cross-site' | 'form' | 'content-type' | 'too-large'
      readonly method: string
      /** The part of the path after `basePath`. */
      readonly path: string
    }
  /** `authenticate` threw, or answered something malformed. The visitor counts as nobody. */
  | { readonly type: 'inbox.authentication-failed'; readonly error: unknown }
  /** A call of `oversight` threw what nobody expects of it. The visitor was told that the outcome is not known. */
  | { readonly type: 'inbox.failed'; readonly method: string; readonly path: string; readonly error: unknown }
  /** A page asked for live updates and there were as many streams as may be; it asks from time to time instead. */
  | { readonly type: 'inbox.streams-full'; readonly approver: string; readonly streams: number }
