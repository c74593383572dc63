import { type RefusalClass, type RefusedStage, readReply } from '@enablement/oversight/email'
import { describe, expect, it } from 'vitest'

type Row = readonly [reply: string, finding: RefusalClass, code: string, stage?: RefusedStage]

/** Research §3.2, row by row, and what servers really write. */
const rows: readonly Row[] = [
  // No such mailbox.
  ['550 5.1.1 <ana@example.com>: Recipient address rejected: User unknown', 'hard', '550 5.1.1'],
  ['550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 gsmtp', 'hard', '550 5.1.1'],
  ['550 5.1.2 Host unknown', 'hard', '550 5.1.2'],
  ['501 5.1.3 Bad recipient address syntax', 'hard', '501 5.1.3'],
  ['551 5.1.6 Mailbox has moved', 'hard', '551 5.1.6'],
  ['556 5.1.10 Recipient address has null MX', 'hard', '556 5.1.10'],
  ['550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found', 'hard', '550 5.1.10'],
  ['550 5.2.1 Mailbox disabled', 'hard', '550 5.2.1'],
  // Codes that begin alike are others.
  ['550 5.1.11 ?', 'sender', '550 5.1.11'],
  ['550 5.1.100 ?', 'sender', '550 5.1.100'],
  ['550 5.2.10 ?', 'sender', '550 5.2.10'],
  ['554 5.1.1.7 is listed', 'sender', '554'],
  // A full mailbox is soft, whatever its class.
  ['552 5.2.2 Mailbox full', 'soft', '552 5.2.2'],
  ['550 5.2.2 Over quota', 'soft', '550 5.2.2'],
  ['452 4.2.2 Mailbox full', 'soft', '452 4.2.2'],
  // Permanent, and not because of the mailbox.
  ['552 5.3.4 Message too big', 'sender', '552 5.3.4', 'message'],
  ['550 5.7.1 Message rejected as spam', 'sender', '550 5.7.1', 'message'],
  ['554 5.7.1 Service unavailable; client host blocked', 'sender', '554 5.7.1'],
  ['550 5.7.26 Unauthenticated email is not accepted', 'sender', '550 5.7.26', 'message'],
  ['530 5.7.0 Authentication required', 'sender', '530 5.7.0'],
  ['550 5.1.8 Bad sender’s system address', 'sender', '550 5.1.8'],
  ['550 5.4.1 Recipient address rejected: Access denied', 'sender', '550 5.4.1'],
  ['554 5.4.14 Hop count exceeded', 'sender', '554 5.4.14'],
  ['550 5.0.0 Other', 'sender', '550 5.0.0'],
  // Not now, because of policy or rate.
  ['451 4.7.1 Greylisting in action, please come back later', 'greylisted', '451 4.7.1'],
  ['450 4.7.0 Rate limited', 'greylisted', '450 4.7.0'],
  ['421 4.7.28 Unusual rate of mail', 'greylisted', '421 4.7.28'],
  // Not now.
  ['450 4.2.1 Mailbox receives mail too fast', 'soft', '450 4.2.1'],
  ['451 4.3.0 Temporary failure', 'soft', '451 4.3.0'],
  ['452 4.3.1 Insufficient system storage', 'soft', '452 4.3.1'],
  ['421 4.4.2 Connection dropped', 'soft', '421 4.4.2'],
  // The more lenient where code and enhanced code contradict each other.
  ['450 5.1.1 User unknown', 'soft', '450 5.1.1'],
  ['550 4.2.2 Mailbox full', 'soft', '550 4.2.2'],
  ['550 4.7.1 Greylisted', 'greylisted', '550 4.7.1'],
  // The line that has it.
  ['550-Requested action not taken\r\n550 5.1.1 User unknown', 'hard', '550 5.1.1'],
  // An enhanced code of success is none of a refusal.
  ['550 2.1.5 ok?', 'hard', '550'],
  // Without an enhanced code.
  ['550 No such user here', 'hard', '550'],
  ['550', 'hard', '550'],
  ['551 User not local', 'hard', '551'],
  ['553 Mailbox name not allowed', 'hard', '553'],
  ['421 Service not available', 'soft', '421'],
  ['450 Mailbox busy', 'soft', '450'],
  ['451 Local error', 'soft', '451'],
  ['452 Insufficient storage', 'soft', '452'],
  ['454 Temporary authentication failure', 'soft', '454'],
  ['552 Exceeded storage allocation', 'soft', '552'],
  ['554 delivery error: dd This user doesn’t have an account (user unknown)', 'hard', '554'],
  ['554 Mailbox does not exist', 'hard', '554'],
  ['554 Invalid recipient', 'hard', '554'],
  ['554 Transaction failed', 'sender', '554'],
  ['554 Your address is listed', 'sender', '554'],
  ['500 Syntax error', 'sender', '500'],
  ['503 Bad sequence', 'sender', '503'],
  ['521 Does not accept mail', 'sender', '521'],
  // A message that is refused is no mailbox that is missing, unless it says so.
  ['550 Message content rejected', 'sender', '550', 'message'],
  ['550 No such user', 'hard', '550', 'message'],
  ['552 Message too large', 'soft', '552', 'message'],
  ['550 5.1.1 User unknown', 'hard', '550 5.1.1', 'message'],
  // Who sends is refused, whatever the code.
  ['550 5.1.1 Sender unknown', 'sender', '550 5.1.1', 'session'],
  ['550 Sender verify failed', 'sender', '550', 'session'],
  ['535 5.7.8 Authentication failed', 'sender', '535 5.7.8', 'session'],
  ['421 4.7.0 Too many connections', 'soft', '421 4.7.0', 'session'],
  // No refusal.
  ['', 'unknown', 'none'],
  ['no such user', 'unknown', 'none'],
  ['250 ok', 'unknown', '250'],
  ['354 go ahead', 'unknown', '354'],
  ['5501 5.1.1 x', 'unknown', 'none'],
  ['999 5.1.1 x', 'unknown', 'none']
]

describe('a reply of a mail server', () => {
  it.for(rows)('%s', ([reply, finding, code, stage]) => {
    expect(readReply(reply, stage)).toEqual({ finding, code })
  })

  it('is read by its beginning, however long it is', () => {
    expect(readReply(`550 ${'x'.repeat(1_000_000)} no such user`)).toEqual({ finding: 'hard', code: '550' })
    expect(readReply(`554 ${'mailbox '.repeat(100_000)}`)).toEqual({ finding: 'sender', code: '554' })
  })
})
