//! The shared library: `ondol run MODEL --delegate libondol_delegate_reference.so`.

ondol_plugin::export!(ondol_delegate_reference::Reference);
