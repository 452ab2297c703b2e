import type { TokenWindows } from '../../calibration/windows.ts';
import type { TaskControl } from './control.ts';
import type { Subject } from './subject.ts';

/** What a package names of its calibration. */
type Calibration = { name: string; textSha256: string; fingerprint: string } | null;

/** Whether windows are of the very text that a package was calibrated on, or its very tokens under another name. */
export function isCalibrationText(calibration: Calibration, { source, fingerprint }: TokenWindows): boolean {
  return (
    calibration !== null &&
    (calibration.textSha256 === source.textSha256 || calibration.fingerprint === fingerprint)
  );
}

/** Warns where a package is measured on its own calibration text; the mark goes into every record of the measurement. */
export function markCalibrationText(
  { path, calibration }: Pick<Subject, 'path' | 'calibration'>,
  windows: TokenWindows,
  control: TaskControl,
): { isCalibrationText?: true } {
  if (!isCalibrationText(calibration, windows)) return {};
  const message = `${path} was calibrated on this text (${windows.source.name}): the figures say how well it fits what it was made from, and look better than on any other text; measure on a held-out text`;
  control.report({ type: 'message', level: 'warning', message });
  return { isCalibrationText: true };
}
