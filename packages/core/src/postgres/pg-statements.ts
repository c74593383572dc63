import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { SqlResult, SqlStatement } from '../sql/sql-database.ts'
import { checkText, readText, type StatementText, TextCache } from '../sql/statement-text.ts'
import type { PgClient } from './pg-pool.ts'
import { POSTGRES } from './postgres-failure.ts'
import { getTypeParser, writeValue } from './wire-value.ts'

/** Texts that are read once: stores have fixed texts, a few hundred in all. */
const TEXTS_MAX = 2_048

/**
 * Texts that become prepared statements, which the server keeps on each connection for as long as that lives. Beyond
 * the bound a text is planned each time it runs, which is slower and costs no memory.
 */
const PREPARED_MAX = 512

interface KnownText extends StatementText {
  readonly name: string | undefined
}

/** Runs statements with `?` on `pg` clients. */
export class PgStatements {
  readonly #texts: TextCache<KnownText>
  /** Outlives what is known of the texts: one that is forgotten and comes again is still prepared on the server. */
  readonly #prepared = new Set<string>()

  constructor(prepare: boolean) {
    this.#texts = new TextCache(TEXTS_MAX, (text) => ({
      ...readText(text),
      name: prepare ? this.#nameFor(text) : undefined
    }))
  }

  #nameFor(text: string): string | undefined {
    const name = nameOf(text)
    if (this.#prepared.size < PREPARED_MAX) this.#prepared.add(name)
    return this.#prepared.has(name) ? name : undefined
  }

  /** Runs one; without `named`, not under its prepared name. Throws what `pg` throws. */
  async perform(client: PgClient, statement: SqlStatement, named = true): Promise<SqlResult> {
    const known = this.#texts.get(statement.text)
    checkText(POSTGRES, statement, known)
    const { rows, rowCount, command } = await client.query({
      text: known.numbered,
      values: statement.values.map(writeValue),
      ...(named && known.name !== undefined ? { name: known.name } : {}),
      queryMode: 'extended',
      types: { getTypeParser }
    })
    return { rows: rows as SqlResult['rows'], changes: command === 'SELECT' ? 0 : (rowCount ?? 0) }
  }
}

/** A name that two databases on one pool can share, because it stands for nothing but the text. At most 63 bytes. */
function nameOf(text: string): string {
  return `enablement_${bytesToHex(sha256(utf8ToBytes(text))).slice(0, 40)}`
}
