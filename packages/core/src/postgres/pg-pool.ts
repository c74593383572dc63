/** A prepared query as `pg` takes it. */
export interface PgQuery {
  readonly text: string
  readonly values: unknown[]
  readonly name?: string
  /** `extended` has the server itself refuse a text with two statements. */
  readonly queryMode?: string
  readonly types?: { getTypeParser(oid: number, format?: string): (value: string) => unknown }
}

/** What `pg` answers. */
export interface PgResult {
  readonly rows: readonly object[]
  readonly command?: string
  readonly rowCount: number | null
}

/** The part of a `pg` client that units use. */
export interface PgClient {
  query(query: PgQuery): Promise<PgResult>
  query(text: string): Promise<PgResult>
  on?(event: 'error', listener: (error: Error) => void): unknown
  removeListener?(event: 'error', listener: (error: Error) => void): unknown
}

/** A client that a pool has lent. */
export interface PgPooledClient extends PgClient {
  /** Gives it back; with `true` or an error, the pool throws it away. */
  release(destroy?: Error | boolean): void
}

/** The part of a `pg` Pool that `postgresDatabase` uses; a `pg.Pool` has it. */
export interface PgPool {
  connect(): Promise<PgPooledClient>
  on?(event: 'error', listener: (error: Error) => void): unknown
  listenerCount?(event: 'error'): number
}
