#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST)
#error "{{name}}: a row with NAN would count as normal; compile this file without -ffast-math, -Ofast or /fp:fast"
#endif
