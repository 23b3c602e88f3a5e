/**
 * Calls of the C library that Node has none of its own for. koffi, which makes them, is optional; and off_t is 64 bits
 * wide without ado on 64-bit machines alone.
 */
type Koffi = typeof import('koffi').default;

/** null where there is no koffi, or not what `bind` asks it for: whoever calls has another way. */
export async function bindC<T>(bind: (koffi: Koffi) => T): Promise<T | null> {
  if (!['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x'].includes(process.arch)) return null;
  try {
    const { default: koffi } = await import('koffi');
    return bind(koffi);
  } catch {
    return null;
  }
}
