import { electronParentPort } from '../work-channel.ts';
import { runDesktopService } from './desktop-service.ts';

/** Entry of the desktop's service process. */
const parent = electronParentPort();
if (!parent) {
  process.stderr.write('This file is started by DBell Studio and does nothing by itself.\n');
  process.exit(2);
}
runDesktopService(parent);
