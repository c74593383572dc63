export { runtimeSchema } from './runtime-schema.ts'
export { sqlCheckpointStore } from './sql-checkpoint-store.ts'
export { sqlIncidentStore } from './sql-incident-store.ts'
