/** What the databases write differently in a table's definition. */
export interface ColumnTypes {
  readonly dialect: 'sqlite' | 'postgres'
  /** 64 bits: milliseconds and quantities do not fit 32. */
  readonly integer: string
  /** Options of an ordinary table. */
  readonly options: string
  /** Options of a table that is read by its key alone. */
  readonly keyed: string
}
