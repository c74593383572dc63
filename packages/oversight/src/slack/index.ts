export type { SlackFetch, SlackToken } from './slack-api.ts'
export { type SlackChannelOptions, slackChannel } from './slack-channel.ts'
export type { SlackEvent } from './slack-event.ts'
export type { SlackUser } from './slack-interaction.ts'
export { type SlackInteractivityOptions, type SlackWorkspace, slackInteractivity } from './slack-interactivity.ts'
export {
  SLACK_METHODS,
  SLACK_RATES,
  type SlackBucket,
  type SlackLimits,
  type SlackLimitsOptions,
  type SlackMethod,
  slackLimits
} from './slack-limits.ts'
export type { InboxUrl } from './slack-message.ts'
