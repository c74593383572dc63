import { X509Certificate } from 'node:crypto'

const block = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

/** The certificates in a PEM text, in its order; what is around and between them is passed over. Undefined when one cannot be read. */
export function readPem(text: string): readonly X509Certificate[] | undefined {
  try {
    return [...text.matchAll(block)].map(([pem]) => new X509Certificate(pem))
  } catch {
    return undefined
  }
}
