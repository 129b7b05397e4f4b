/* layout.c - the structs are laid out as the host has them (runtime/src/delegate/ffi.rs). */
#include "../../ondol_npu.h"

#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#define PLACE(type, field, place) _Static_assert(offsetof(type, field) == (place), #type "." #field)

SIZE(ondol_npu_hdr, 8);
SIZE(ondol_npu_error, 256);
PLACE(ondol_npu_error, message, 20);
SIZE(ondol_npu_quant, 20);
SIZE(ondol_npu_mem, 56);
PLACE(ondol_npu_mem, fd, 24);
SIZE(ondol_npu_tensor, 64);
PLACE(ondol_npu_tensor, data, 32);
SIZE(ondol_npu_node, 48);
PLACE(ondol_npu_node, out, 32);
SIZE(ondol_npu_graph, 48);
PLACE(ondol_npu_graph, tensors, 32);
SIZE(ondol_npu_device_info, 376);
PLACE(ondol_npu_device_info, quants, 328);
PLACE(ondol_npu_device_info, activation_group, 352); /* where version 1.0 ends */
SIZE(ondol_npu_claim, 132);
SIZE(ondol_npu_metrics, 40);
PLACE(ondol_npu_metrics, exec_ns, 16);
SIZE(ondol_npu_binding, 32);
PLACE(ondol_npu_binding, buffer, 16);
SIZE(ondol_npu_host, 24);
SIZE(ondol_npu_api, 192);
PLACE(ondol_npu_api, submit, 144);
#endif
