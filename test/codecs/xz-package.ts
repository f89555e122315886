/** Whether the optional package behind xz is installed. In CI (`CI=true`) it has to be, and tests of xz run and fail without it. */

async function canImport(specifier: string): Promise<boolean> {
  try {
    await import(specifier)
    return true
  } catch {
    console.log('skipped: xz tests, because the optional package node-liblzma is not installed (it needs npm run by Node 22 or newer)')
    return false
  }
}

export const hasXz = process.env['CI'] === 'true' || (await canImport('node-liblzma/wasm'))
