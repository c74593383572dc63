import type { ConformanceKit } from '../conformance.ts'
import type { CreateSqlDatabase } from './case.ts'
import { failures } from './failures.ts'
import { lifetime } from './lifetime.ts'
import { migrations } from './migrations.ts'
import { outcomes } from './outcomes.ts'
import { statements } from './statements.ts'
import { values } from './values.ts'

/** The exam of `SqlDatabase`: SQLite, Postgres and PGlite pass it, and so must an adapter of your own. */
export const sqlDatabaseConformance: ConformanceKit<CreateSqlDatabase, never> = {
  name: 'SqlDatabase',
  needs: [],
  cases: [...outcomes, ...values, ...statements, ...failures, ...lifetime, ...migrations]
}
