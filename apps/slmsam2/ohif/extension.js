// The OHIF extension: one panel.
import { hostComponent } from './element.js';
import { mountPanel } from './panel.js';

export default {
  id: 'slmsam2',
  getPanelModule: () => [{
    name: 'panel',
    iconName: 'icon-tool-brush',
    iconLabel: 'SLM-SAM 2',
    label: 'SLM-SAM 2',
    component: hostComponent(mountPanel),
  }],
};
