// Decisions per second: a vote that settles its request, with the audit entries of both and the notice to whoever was
// invited, durably. On Postgres against LangGraph's own human in the loop: threads that wait in an `interrupt`, kept by its
// Postgres checkpointer on the same server, are resumed by a `Command`, as many at a time over as many connections. Both
// have all that waits before the clock starts.
import { Annotation, Command, END, interrupt, START, StateGraph } from '@langchain/langgraph'
import { PostgresSaver } from '@langchain/langgraph-checkpoint-postgres'
import pg from 'pg'
import { openPostgres, openSqlite } from '../databases.mjs'
import { countRate, medians, row, some } from '../measuring.mjs'
import { makeOversight } from './make-oversight.mjs'

const ON_SQLITE = { callers: 64, count: some(10_000) }
const ON_POSTGRES = { callers: 16, count: some(3_000) }
const THREADS = some(400)

/** Opens requests, and gives the rate at which they are approved. */
async function decided({ oversight, open }, { callers, count }, tidy = async () => {}) {
  const ids = []
  await countRate(callers, count, async (at) => {
    ids[at] = await open()
  })
  await tidy()
  return countRate(callers, count, async (at) => {
    const { outcome } = await oversight.decide(ids[at], { approver: 'ana', decision: 'approve' })
    if (outcome !== 'recorded') throw new Error(`a vote was ${outcome}`)
  })
}

async function openLangGraph(url, tidy) {
  const pool = new pg.Pool({ connectionString: url, max: ON_POSTGRES.callers })
  const checkpointer = new PostgresSaver(pool)
  await checkpointer.setup()
  const State = Annotation.Root({ order: Annotation(), cents: Annotation(), approved: Annotation() })
  const graph = new StateGraph(State)
    .addNode('ask', ({ order, cents }) => ({ approved: interrupt({ action: 'payments.refund', order, cents }) }))
    .addEdge(START, 'ask')
    .addEdge('ask', END)
    .compile({ checkpointer })
  let threads = 0
  return {
    async resumed() {
      const configs = Array.from({ length: THREADS }, () => ({ configurable: { thread_id: `thread-${threads++}` } }))
      const detail = { order: '118', cents: 1_200 }
      await countRate(ON_POSTGRES.callers, THREADS, (at) => graph.invoke(detail, configs[at]))
      await tidy()
      return countRate(ON_POSTGRES.callers, THREADS, async (at) => {
        const { approved } = await graph.invoke(new Command({ resume: true }), configs[at])
        if (approved !== true) throw new Error('a thread was not resumed')
      })
    },
    close: () => pool.end()
  }
}

export async function rows() {
  const [sqlite, postgres] = [openSqlite(), await openPostgres(ON_POSTGRES.callers)]
  const langGraph = await openLangGraph(postgres.url, postgres.tidy)
  try {
    const [onSqlite, onPostgres] = [await makeOversight(sqlite.db), await makeOversight(postgres.db)]
    const found = await medians({
      sqlite: () => decided(onSqlite, ON_SQLITE),
      postgres: () => decided(onPostgres, ON_POSTGRES, postgres.tidy),
      langGraph: () => langGraph.resumed()
    })
    const peer = 'LangGraph 1.7.3, interrupt resumed from its Postgres checkpointer, 16 connections'
    const unit = 'decisions/s'
    return [
      row({ id: 'decide-postgres', ours: found.postgres, peer, theirs: found.langGraph, unit }),
      {
        id: 'decide-sqlite',
        ours: Math.round(found.sqlite),
        peer: 'none; the aim is 20,000',
        theirs: null,
        unit,
        ratio: null
      }
    ]
  } finally {
    await langGraph.close()
    await Promise.all([sqlite.close(), postgres.close()])
  }
}
