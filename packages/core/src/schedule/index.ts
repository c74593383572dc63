export type { Duty, DutyRun } from './duty.ts'
export {
  type DutyHealth,
  startWorker,
  type Worker,
  type WorkerEvent,
  type WorkerHealth,
  type WorkerOptions
} from './worker.ts'
