/** What is wrong with an entry by itself. */
export type EntryDamage =
  /** It is an entry, of another tenant or under other columns than its own. */
  | 'entry-misplaced'
  /** Its text is not what was hashed. */
  | 'entry-changed'
  /** Its detail or its salt is not what it was written with. */
  | 'detail-changed'
  /** Its detail, or its salt, is gone and no redaction says so. */
  | 'detail-erased'

/** What is wrong with a log. */
export type AuditDamage =
  | EntryDamage
  /** An entry of the tree is not there. */
  | 'entry-missing'
  /** There is an entry beyond the tree, or before its first. */
  | 'entry-beyond-tree'
  /** The head, or a stored node, is not that of the entries. */
  | 'tree-changed'
  /** A checkpoint that was kept is larger than the log: it was cut, or set back. */
  | 'log-shorter'
  /** The log had another content when a checkpoint was signed. */
  | 'history-rewritten'
  /** A checkpoint is none of the key's, or none at all. */
  | 'checkpoint-invalid'
  /** More entries than the window allows, or older ones, have no signature by the key. */
  | 'unsigned'

/** Whether a tenant's log is what was written. */
export type AuditIntegrity =
  | {
      readonly outcome: 'intact'
      readonly tenant: string
      /** All entries; those that were written while it was verified are left to the next verification. */
      readonly entries: number
      /** Those in the tree. The others could be removed without a trace. */
      readonly sealed: number
      /** Those that a signed checkpoint covers: with a key it was verified, without one merely compared. */
      readonly signed: number
      /** The root of the tree, in hex. */
      readonly root: string
      /** Checkpoints kept elsewhere that the log agrees with. */
      readonly checkpoints: number
    }
  | {
      readonly outcome: 'broken'
      readonly tenant: string
      readonly reason: AuditDamage
      /** Where in the tree: the entry, or how many leaves the checkpoint or the tree has. Undefined outside of it. */
      readonly leafIndex?: number
      /** The entry, where it is known. */
      readonly id?: string
    }
