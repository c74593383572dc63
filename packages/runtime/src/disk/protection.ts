import picomatch from 'picomatch'

/** Folders of version control: their files are large, old, and irreplaceable. */
const REPOSITORIES = ['.git', '.hg', '.svn', '.jj']

/** Globs of picomatch, relative to the root; a folder that matches protects all that is in it. */
export function protectionOf(globs: readonly string[]): (path: string) => boolean {
  const matches = globs.length === 0 ? undefined : picomatch([...globs], { dot: true })
  return (path) => {
    const parts = path.split('/')
    return parts.some(
      (part, index) => REPOSITORIES.includes(part) || matches?.(parts.slice(0, index + 1).join('/')) === true
    )
  }
}
