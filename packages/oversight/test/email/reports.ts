/** What a report is about. */
export interface ReportedMail {
  /** The envelope sender of the mail that came back: where the report goes. */
  readonly returnPath: string
  /** Whom it was sent to. */
  readonly recipient: string
  readonly messageId?: string
  /** In place of the action, status and diagnostic that the format has. */
  readonly action?: string
  readonly status?: string
  readonly diagnostic?: string
}

const lines = (text: string): string => text.replaceAll('\n', '\r\n')

/** Delivery status notifications as the servers that people have write them: their parts, their fields, their folding. */
export const reports: Readonly<Record<string, (mail: ReportedMail) => string>> = {
  Postfix: ({
    returnPath,
    recipient,
    messageId = '<x@example.net>',
    action = 'failed',
    status = '5.1.1',
    diagnostic = `smtp; 550 5.1.1 <${recipient}>: Recipient address rejected: User\n    unknown in virtual mailbox table`
  }) =>
    lines(`Return-Path: <>
Delivered-To: bounces@mx.example.net
Received: by relay.example.net (Postfix)
	id 4XyZ12AbCdz9; Thu,  1 Jan 2026 00:00:02 +0000 (UTC)
Date: Thu,  1 Jan 2026 00:00:02 +0000 (UTC)
From: MAILER-DAEMON@relay.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: ${returnPath}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4XyZ11aaaaz8.1767225602/relay.example.net"
Content-Transfer-Encoding: 8bit
Message-Id: <4XyZ12AbCdz9@relay.example.net>

This is a MIME-encapsulated message.

--4XyZ11aaaaz8.1767225602/relay.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host relay.example.net.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

--4XyZ11aaaaz8.1767225602/relay.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example.net
X-Postfix-Queue-ID: 4XyZ11aaaaz8
X-Postfix-Sender: rfc822; ${returnPath}
Arrival-Date: Thu,  1 Jan 2026 00:00:01 +0000 (UTC)

Final-Recipient: rfc822; ${recipient}
Original-Recipient: rfc822;${recipient}
Action: ${action}
Status: ${status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: ${diagnostic}

--4XyZ11aaaaz8.1767225602/relay.example.net
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 8bit

Return-Path: <${returnPath}>
From: Approvals <approvals@example.net>
To: "Ana" <${recipient}>
Subject: Approval needed
Message-ID: ${messageId}

--4XyZ11aaaaz8.1767225602/relay.example.net--
`),

  Exim: ({
    returnPath,
    recipient,
    messageId = '<x@example.net>',
    action = 'failed',
    status = '5.0.0',
    diagnostic = 'smtp; 550-Callout verification failed:\n 550 no such user here'
  }) =>
    lines(`Return-path: <>
Envelope-to: ${returnPath}
Delivery-date: Thu, 01 Jan 2026 00:00:02 +0000
Received: from Debian-exim by relay.example.net with local (Exim 4.98)
	id 1tSabc-00000001-AAAA
	for ${returnPath};
	Thu, 01 Jan 2026 00:00:02 +0000
X-Failed-Recipients: ${recipient}
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@relay.example.net>
To: ${returnPath}
References: ${messageId}
Content-Type: multipart/report; report-type=delivery-status; boundary=1767225602-eximdsn-1804289383
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1tSabc-00000001-AAAA@relay.example.net>
Date: Thu, 01 Jan 2026 00:00:02 +0000

--1767225602-eximdsn-1804289383
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ${recipient}

--1767225602-eximdsn-1804289383
Content-type: message/delivery-status

Reporting-MTA: dns; relay.example.net

Action: ${action}
Final-Recipient: rfc822;${recipient}
Status: ${status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: ${diagnostic}

--1767225602-eximdsn-1804289383
Content-type: message/rfc822

Return-path: <${returnPath}>
From: Approvals <approvals@example.net>
To: Ana <${recipient}>
Subject: Approval needed
Message-ID: ${messageId}

Approval needed

--1767225602-eximdsn-1804289383--
`),

  Exchange: ({
    returnPath,
    recipient,
    messageId = '<x@example.net>',
    action = 'failed',
    status = '5.1.10',
    diagnostic = 'smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup'
  }) =>
    lines(`MIME-Version: 1.0
From: <postmaster@example.onmicrosoft.com>
To: <${returnPath}>
Date: Thu, 1 Jan 2026 00:00:02 +0000
Content-Type: multipart/report; report-type=delivery-status;
	boundary="_6a1d8c0e-2b62-4a08-9d3a-0a2f6e5b1c00_"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-US
Message-ID: <6a1d8c0e@AM0PR01MB0000.eurprd01.prod.exchangelabs.com>
In-Reply-To: ${messageId}
References: ${messageId}
Subject: Undeliverable: Approval needed
Auto-Submitted: auto-replied

--_6a1d8c0e-2b62-4a08-9d3a-0a2f6e5b1c00_
Content-Type: multipart/alternative; differences=Content-Type;
	boundary="_7b2e9d1f-3c73-4b19-8e4b-1b3a7f6c2d11_"

--_7b2e9d1f-3c73-4b19-8e4b-1b3a7f6c2d11_
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Your message couldn't be delivered. The recipient wasn't found.=20

--_7b2e9d1f-3c73-4b19-8e4b-1b3a7f6c2d11_
Content-Type: text/html; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

<html><body>Your message couldn't be delivered.</body></html>

--_7b2e9d1f-3c73-4b19-8e4b-1b3a7f6c2d11_--

--_6a1d8c0e-2b62-4a08-9d3a-0a2f6e5b1c00_
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01MB0000.eurprd01.prod.exchangelabs.com
Received-From-MTA: dns;relay.example.net
Arrival-Date: Thu, 1 Jan 2026 00:00:01 +0000

Final-Recipient: rfc822;${recipient}
Action: ${action}
Status: ${status}
Diagnostic-Code: ${diagnostic}
X-Display-Name: Ana

--_6a1d8c0e-2b62-4a08-9d3a-0a2f6e5b1c00_
Content-Type: message/rfc822

From: Approvals <approvals@example.net>
To: Ana <${recipient}>
Subject: Approval needed
Message-ID: ${messageId}
MIME-Version: 1.0
Content-Type: text/plain

Approval needed

--_6a1d8c0e-2b62-4a08-9d3a-0a2f6e5b1c00_--
`),

  Gmail: ({
    returnPath,
    recipient,
    messageId = '<x@example.net>',
    action = 'failed',
    status = '5.1.1',
    diagnostic = "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try\n 550-5.1.1 double-checking the recipient's email address.\n 550 5.1.1 For more information, go to https://support.google.com/mail/?p=NoSuchUser - gsmtp"
  }) =>
    lines(`Delivered-To: ${returnPath}
Return-Path: <>
MIME-Version: 1.0
Content-Type: multipart/report; boundary="000000000000abcdef0612345678"; report-type=delivery-status
To: ${returnPath}
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
References: ${messageId}
In-Reply-To: ${messageId}
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
Date: Wed, 31 Dec 2025 16:00:02 -0800 (PST)
Message-ID: <6954c0c2.050a0220.1234.5678.GMR@mx.google.com>

--000000000000abcdef0612345678
Content-Type: multipart/related; boundary="000000000000abcde00612345679"

--000000000000abcde00612345679
Content-Type: multipart/alternative; boundary="000000000000abcde10612345680"

--000000000000abcde10612345680
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to ${recipient} because the address couldn't be found.

--000000000000abcde10612345680
Content-Type: text/html; charset="UTF-8"

<html><body><h2>Address not found</h2></body></html>

--000000000000abcde10612345680--
--000000000000abcde00612345679
Content-Type: image/png; name="icon.png"
Content-Disposition: attachment; filename="icon.png"
Content-Transfer-Encoding: base64
Content-ID: <icon.png>

iVBORw0KGgo=
--000000000000abcde00612345679--
--000000000000abcdef0612345678
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Arrival-Date: Wed, 31 Dec 2025 16:00:01 -0800 (PST)
X-Original-Message-ID: ${messageId}

Final-Recipient: rfc822; ${recipient}
Action: ${action}
Status: ${status}
Remote-MTA: dns; aspmx.l.google.com. (2607:f8b0:4023::1b, the server for the domain example.com.)
Diagnostic-Code: ${diagnostic}
Last-Attempt-Date: Wed, 31 Dec 2025 16:00:02 -0800 (PST)

--000000000000abcdef0612345678
Content-Type: message/rfc822

From: Approvals <approvals@example.net>
To: Ana <${recipient}>
Subject: Approval needed
Message-ID: ${messageId}

Approval needed

--000000000000abcdef0612345678--
`)
}
