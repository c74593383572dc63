import type { Decided } from './decision/cast.ts'
import type { Oversight } from './oversight.ts'

/** What came of a vote, as channels, links and pages are told. */
export type VoteAnswer = Decided

/** The part of `Oversight` that a surface for people needs: a page, a chat, a link. */
export type OversightCalls = Pick<Oversight, 'decide' | 'inspect' | 'list' | 'edit' | 'comment' | 'viewed'>
