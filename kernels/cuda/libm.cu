// libm's functions for kernels that are lowered from Python: tcl_NAME stands for NAME, which may be
// a word of PTX. Compiled as relocatable device code; kernels/libm.py gives each text those that it
// calls.
#define FUNCTION(name, type, parameters, arguments) \
  extern "C" __device__ type tcl_##name parameters { return name arguments; }
#define UNARY(name)                        \
  FUNCTION(name##f, float, (float x), (x)) \
  FUNCTION(name, double, (double x), (x))
#define BINARY(name)                                   \
  FUNCTION(name##f, float, (float x, float y), (x, y)) \
  FUNCTION(name, double, (double x, double y), (x, y))

UNARY(sin)
UNARY(cos)
UNARY(tan)
UNARY(asin)
UNARY(acos)
UNARY(atan)
UNARY(sinh)
UNARY(cosh)
UNARY(tanh)
UNARY(asinh)
UNARY(acosh)
UNARY(atanh)
UNARY(exp)
UNARY(exp2)
UNARY(expm1)
UNARY(log)
UNARY(log2)
UNARY(log10)
UNARY(log1p)
UNARY(cbrt)
UNARY(erf)
UNARY(erfc)
UNARY(lgamma)
UNARY(tgamma)
FUNCTION(powf, float, (float x, float y), (x, y))
// Powers of whole numbers are whole: integers are made of them.
extern "C" __device__ double tcl_pow(double x, double y) {
  const double power = pow(x, y);
  const bool whole = y >= 0.0 && rint(x) == x && rint(y) == y && fabs(power) < 0x1p53;
  return whole ? rint(power) : power;
}
BINARY(fmod)
BINARY(atan2)
BINARY(hypot)
FUNCTION(ldexpf, float, (float x, int y), (x, y))
FUNCTION(ldexp, double, (double x, int y), (x, y))
