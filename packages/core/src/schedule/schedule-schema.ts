import type { Schema } from '../sql/migration.ts'

/** The table of tasks. */
export const scheduleSchema: Schema = {
  component: 'schedule',
  migrations: [
    {
      version: 1,
      name: 'tasks',
      // `key` is the task's name, or for a single run name/id: names hold no slash. `rule` is that of a recurrence. What
      // begins with `aside` is about an instant that was given up: a single run is then due never, a recurrence goes on.
      // `resume_at` is where it goes on after one that was revived; its own instant when it had come to its end.
      sqlite: [
        `create table schedule_tasks (
          key text primary key, task text not null, due_at integer not null, rule text, payload text,
          next_due_at integer, fence integer not null default 0, attempts integer not null default 0,
          unanswered integer not null default 0, aside_at integer, aside_due_at integer,
          aside_attempts integer, aside_reason text, aside_error text, resume_at integer) strict`,
        'create index schedule_tasks_due on schedule_tasks (next_due_at) where next_due_at is not null',
        'create index schedule_tasks_aside on schedule_tasks (aside_at) where aside_at is not null'
      ],
      postgres: [
        `create table schedule_tasks (
          key text primary key, task text not null, due_at bigint not null, rule text, payload text,
          next_due_at bigint, fence bigint not null default 0, attempts bigint not null default 0,
          unanswered bigint not null default 0, aside_at bigint, aside_due_at bigint,
          aside_attempts bigint, aside_reason text, aside_error text, resume_at bigint)`,
        'create index schedule_tasks_due on schedule_tasks (next_due_at) where next_due_at is not null',
        'create index schedule_tasks_aside on schedule_tasks (aside_at) where aside_at is not null'
      ]
    }
  ]
}
