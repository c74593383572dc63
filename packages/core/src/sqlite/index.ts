export { type SqliteOptions, sqliteDatabase } from './sqlite-database.ts'
