export {
  createDecisionLinks,
  type DecisionLinks,
  type DecisionLinksOptions,
  type LinkedInvitation
} from './decision-links.ts'
export type { LinkEvent, LinkRefusal } from './link-event.ts'
export type { LinkClaims, LinkKey, LinkVerb } from './link-token.ts'
