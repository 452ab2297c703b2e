import type { Environment } from '../../../../engine/contract/environment.ts';
import type { Machine } from '../../../../engine/contract/machine.ts';
import type { Settings } from '../../../../engine/contract/settings.ts';

/** What a bug report needs, without paths and names: those say who the person is. */
export function diagnostics(
  environment: Environment,
  machine: Machine | null,
  settings: Settings | null,
): string {
  const { version, node, platform, architecture, cpu, memoryBytes, native } = environment;
  const {
    instructionSets,
    availableCores,
    isVirtualMachine,
    freeMemoryBytes,
    loadAverage,
    governor,
    powerSource,
  } = machine ?? {};
  return JSON.stringify(
    {
      version,
      node,
      platform,
      architecture,
      cpu,
      memoryBytes,
      native,
      machine: {
        instructionSets,
        availableCores,
        isVirtualMachine,
        freeMemoryBytes,
        loadAverage,
        governor,
        powerSource,
      },
      settings: {
        threads: settings?.threads,
        memoryBudgetBytes: settings?.memoryBudgetBytes,
        diskFloorBytes: settings?.diskFloorBytes,
        network: settings?.network,
      },
      browser: navigator.userAgent,
    },
    null,
    2,
  );
}
