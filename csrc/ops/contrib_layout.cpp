// Convolutions, pooling and images of com.microsoft.
#include "ops/contrib.h"

namespace tiercel {

OpList contrib_layout_ops() {
  return {
      contrib_row(
          "ConvTransposeWithDynamicPads", "X:T W:T Pads:tensor(int64)? B:T?", "Y:T",
          "T = float16 float double",
          "auto_pad:string=NOTSET dilations:ints group:int=1 kernel_shape:ints output_padding:ints "
          "strides:ints"),
      contrib_row("CropAndResize", "X:T1 rois:T1 batch_indices:T2 crop_size:T2", "Y:T1",
                  "T1 = float16 float double; T2 = int32",
                  "extrapolation_value:float=0.0 mode:string=bilinear"),
      contrib_row(
          "FusedConv", "X:T W:T B:T? Z:T?", "Y:T", "T = float16 float double",
          "activation:string activation_params:floats auto_pad:string=NOTSET dilations:ints "
          "group:int=1 kernel_shape:ints pads:ints strides:ints"),
      contrib_row(
          "GridSample", "X:T1 Grid:T1", "Y:T2",
          "T1 = uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float double string bool "
          "complex64 complex128; T2 = float16 float double",
          "align_corners:int=0 mode:string=bilinear padding_mode:string=zeros"),
      contrib_row("NhwcConv", "X:T W:T B:T?", "Y:T", "T = float16 float double",
                  "auto_pad:string=NOTSET dilations:ints group:int=1 kernel_shape:ints pads:ints "
                  "strides:ints"),
      contrib_row(
          "NhwcFusedConv", "X:T W:T B:T? Z:T?", "Y:T", "T = float16 float",
          "activation:string activation_params:floats auto_pad:string=NOTSET dilations:ints "
          "group:int=1 kernel_shape:ints pads:ints strides:ints"),
      contrib_row(
          "NhwcMaxPool", "x:T", "y:T", "T = int8 uint8",
          "auto_pad:string=NOTSET ceil_mode:int=0 dilations:ints kernel_shape:ints! pads:ints "
          "strides:ints"),
      contrib_row("Pad", "data:T pads:tensor(int64) value:T?", "output:T",
                  "T = float16 float double", "mode:string=constant"),
      contrib_row(
          "QLinearConv",
          "x:T1 x_scale:tensor(float) x_zero_point:T1 w:T2 w_scale:tensor(float) w_zero_point:T2 "
          "y_scale:tensor(float) y_zero_point:T3 B:T4?",
          "y:T3", "T1 = int8 uint8; T2 = int8 uint8; T3 = int8 uint8; T4 = int32",
          "auto_pad:string=NOTSET channels_last:int=0 dilations:ints group:int=1 kernel_shape:ints "
          "pads:ints strides:ints"),
  };
}

}  // namespace tiercel
